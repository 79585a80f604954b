//! `GET /api/wechat/redirect`: sends the browser to WeChat, which sends it back with a code.
//!
//! The address to come back to is our own and always the same; where the page wants to be afterwards stays here, sealed
//! in the browser's cookie, and was found on the allow-list before WeChat sees anything.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::state::PendingLogin;
use crate::config;
use crate::config::AppKind;
use crate::secret::random_text;
use crate::web::envelope::Failure;
use crate::web::error_page;
use crate::web::error_page::Again;
use crate::web::page::address;
use crate::web::page::address::Own;
use crate::web::state::WebState;
use crate::wechat::oauth::{Scope, authorize_url};

/// 190 random bits, in the alphabet WeChat gives back unchanged.
const STATE_LENGTH: usize = 32;

/// What a login is begun with.
#[derive(Debug)]
pub struct AuthorizeRequest<'a> {
    /// With which app.
    pub app: &'a config::App,
    /// Where the browser goes afterwards; on the allow-list.
    pub callback: &'a str,
    /// How much is asked for.
    pub scope: Scope,
    /// How often it was begun again by itself.
    pub tries: u32,
}

pub async fn redirect(app: WebState, request: Request) -> Response {
    let headers = request.headers();
    begun(&app, headers, request.uri())
        .unwrap_or_else(|failure| error_page::answer(headers, failure, &Again::default()))
}

fn begun(app: &WebState, headers: &HeaderMap, uri: &Uri) -> Result<Response, Failure> {
    let browser = app.browser()?;
    let is_app = |key: &str| app.config.app(key).is_some();
    let own: [Own<'_>; 2] = [("app", &is_app), ("scope", &|scope| Scope::parse(scope).is_some())];
    let (parameters, undecoded) = address::parameters(uri, &["callback", "url"], &own)?;
    let (wechat_app, _) = app.web_app(AppKind::OfficialAccount, &parameters)?;
    // The tutorial's pages say `url`.
    let (name, callback) = match (parameters.get("callback")?, parameters.get("url")?) {
        (Some(_), Some(_)) => return Err(Failure::bad_parameter("url", "is another name of callback: give one")),
        (Some(callback), None) => ("callback", callback),
        (None, Some(url)) => ("url", url),
        (None, None) => return Err(Failure::bad_parameter("callback", "is required")),
    };
    let callback = &browser.origins.required(name, callback)?;
    if let Some(name) = undecoded.filter(|_| browser.origins.is_elsewhere(headers, callback)) {
        return Err(address::cut_off(name));
    }
    let scope = match parameters.get("scope")? {
        None => Scope::Base,
        Some(text) => Scope::parse(text)
            .ok_or_else(|| Failure::bad_parameter("scope", "must be snsapi_base or snsapi_userinfo"))?,
    };
    to_wechat(app, headers, &AuthorizeRequest { app: wechat_app, callback, scope, tries: 0 })
}

/// The redirect to WeChat, with the cookie that lets this browser, and no other, come back.
pub fn to_wechat(app: &WebState, headers: &HeaderMap, request: &AuthorizeRequest<'_>) -> Result<Response, Failure> {
    let state = random_text(STATE_LENGTH);
    let back = format!("{}/api/wechat/getOpenId", app.config.server.public_url);
    let target = authorize_url(&app.config.wechat.open_url, &request.app.app_id, &back, request.scope, &state);
    let login = PendingLogin {
        state,
        callback: request.callback.to_owned(),
        scope: request.scope.as_str().to_owned(),
        app: request.app.key.clone(),
        issued_at: app.clock.now(),
        tries: request.tries,
    };
    let cookies = app.browser()?.logins.with(headers, login)?;
    let mut response = (StatusCode::FOUND, [(header::LOCATION, target)]).into_response();
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}
