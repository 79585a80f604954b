//! Which addresses belong to our own pages: the one rule behind every redirect and every signed page.
//!
//! The rule compares text first and parses second. Parsers repair (`https:host`, `https:///host`, `\`, a tab in the
//! middle) and each repairs differently, so an address that needs repair is refused: what passes begins, character by
//! character, with an origin of the list, and means that origin to every reader.

use axum::http::HeaderMap;
use axum::http::header;
use url::Url;

use crate::web::envelope::{Failure, Reason};

/// The longest address that is taken.
const MAX_URL_BYTES: usize = 1024;

/// The origins of `web.callback_origins`.
#[derive(Debug, Clone)]
pub struct Origins {
    listed: Vec<String>,
    /// The origin this service itself is seen under.
    own: String,
}

impl Origins {
    /// The list, as the configuration has checked it: `scheme://host[:port]`, nothing after it. `public_url` is where
    /// this service itself is seen.
    pub fn new(listed: &[String], public_url: &str) -> Origins {
        let own = Url::parse(public_url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        Origins { listed: listed.to_vec(), own }
    }

    /// Whether pages of this origin may call with credentials. `origin` is what a browser sent as `Origin`.
    pub fn lists(&self, origin: &str) -> bool {
        self.listed.iter().any(|listed| listed == origin)
    }

    /// Where a person can begin again when nothing else is known.
    pub fn first(&self) -> Option<&str> {
        self.listed.first().map(String::as_str)
    }

    /// `text`, if it is the absolute address of a page under a listed origin; then it can stand in a `Location` header
    /// as it is. A path, query and fragment may follow the origin.
    pub fn page<'a>(&self, text: &'a str) -> Option<&'a str> {
        if text.len() > MAX_URL_BYTES || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
            return None;
        }
        let listed = self.listed.iter().find(|origin| {
            // A port, a longer host name and `user@` would all go on with another character.
            let rest = text.strip_prefix(origin.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
        })?;
        let url = Url::parse(text).ok()?;
        let means = url.origin().ascii_serialization() == *listed;
        (means && url.username().is_empty() && url.password().is_none()).then_some(text)
    }

    /// The page at `text`, which is the value of the parameter `name`, as a browser shows its address.
    pub fn required(&self, name: &str, text: &str) -> Result<String, Failure> {
        if text.len() > MAX_URL_BYTES {
            return Err(Failure::bad_parameter(name, format!("must be at most {MAX_URL_BYTES} bytes")));
        }
        let shown = as_shown(text);
        self.page(&shown).map(str::to_owned).ok_or_else(|| Reason::BadOrigin.into())
    }

    /// Whether the browser says that its page is at another address than `page`, which is of our own origin. To another
    /// origin it tells no more than the page's.
    pub fn is_elsewhere(&self, headers: &HeaderMap, page: &str) -> bool {
        let of_own = |text: &str| Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == self.own);
        let referer = headers.get(header::REFERER).and_then(|value| value.to_str().ok()).filter(|text| of_own(text));
        let page = page.split('#').next().unwrap_or_default();
        // A page at the root is shown with its slash.
        let shown = Url::parse(page).map(String::from).unwrap_or_default();
        referer.is_some_and(|referer| of_own(page) && referer != page && referer != shown)
    }

    /// Whether a request that acts for the session comes from one of our own pages, as far as the browser says.
    ///
    /// The cookie is SameSite=Lax and would come along when another site navigates here. A browser names the origin of
    /// a script's request, and modern ones say of every request which site began it; a program says neither.
    pub fn began_here(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        match (text(header::ORIGIN.as_str()), text("sec-fetch-site")) {
            (Some(origin), _) => self.lists(origin) || origin == self.own,
            (None, Some(site)) => matches!(site, "same-origin" | "none"),
            (None, None) => true,
        }
    }
}

/// An address with its scheme and host in lower case and without its scheme's own port, as browsers show it. Nothing
/// else is repaired.
fn as_shown(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, rest) = rest.split_at(end);
    let port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return text.to_owned(),
    };
    let host = host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    format!("{scheme}://{host}{rest}")
}
