//! `GET /console/notifications`: newest first.

use askama::Template;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::words::{Texts, kind, verdict};
use crate::clock::Timestamp;
use crate::console::dead_letters::reasons;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::orders::seen;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::choice::Choice;
use crate::console::ui::id::Id;
use crate::console::ui::status::Badge;
use crate::console::viewer::Viewer;
use crate::ops::notifications::{self, About};
use crate::ops::reason::ReasonClass;
use crate::store::{ArchiveCursor, ArchiveFilter, ArchivedRow};

const PATH: &str = "/console/notifications";
const LIMIT: u64 = 50;

#[derive(Template)]
#[template(path = "console/notifications.html")]
struct NotificationsPage {
    frame: Frame,
    t: &'static Texts,
    filters: Filters,
    rows: Vec<ArchivedRow>,
    merchants: Vec<String>,
    older: Option<String>,
    newest: Option<String>,
    /// The plan of all that these filters select, where one can be made.
    replay: Option<String>,
}

pub async fn list(app: Console, viewer: Viewer, filters: Filters) -> Result<Response, Fault> {
    let filter = ArchiveFilter {
        merchants: viewer.among(filters.get("merchant"))?,
        verdict: filters.get("verdict").filter(|name| verdict(name).is_some()).map(str::to_owned),
        kind: filters.owned("kind"),
        reason: filters.owned("reason"),
        from: filters.day("from", false),
        to: filters.day("to", true),
        ids: None,
        before: filters.get("after").and_then(read_cursor),
    };
    let about = About { order_no: filters.owned("order_no"), any: filters.owned("id") };
    let found = notifications::list(&app.store, &app.config, filter, &about, LIMIT).await?;
    let t = Texts::of(app.lang);
    page(&NotificationsPage {
        frame: Frame::new(&app, &viewer, Place::Notifications, t.title),
        t,
        merchants: seen(&app, &viewer),
        older: found.next.as_ref().map(|next| filters.with(PATH, "after", &write_cursor(next))),
        newest: filters.get("after").map(|_| filters.with(PATH, "after", "")),
        replay: (filters.is("verdict", "refused") && !found.rows.is_empty()).then(|| plan_of(&filters)),
        filters,
        rows: found.rows,
    })
}

/// The plan of the refused notifications that the filters select.
fn plan_of(filters: &Filters) -> String {
    let kept = ["merchant", "order_no", "from", "to"].iter().filter_map(|name| Some((*name, filters.get(name)?)));
    let reason = filters.get("reason").map(|reason| ("reason_class", reason));
    links::plan([("kind", "notification"), ("refused", "1")].into_iter().chain(kept).chain(reason))
}

fn write_cursor(cursor: &ArchiveCursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("n{}.{}", cursor.received_at.as_ms(), cursor.id))
}

fn read_cursor(text: &str) -> Option<ArchiveCursor> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let (at, id) = text.strip_prefix('n')?.split_once('.')?;
    Some(ArchiveCursor { received_at: Timestamp::from_ms(at.parse().ok()?), id: id.to_owned() })
}

impl NotificationsPage {
    fn tabs(&self) -> [(&'static str, &'static str, String); 4] {
        let t = self.t;
        [("", t.tab_all), ("refused", t.tab_refused), ("parked", t.tab_parked), ("settled", t.tab_settled)]
            .map(|(name, words)| (name, words, self.filters.with_first(PATH, "verdict", name)))
    }

    fn is_tab(&self, name: &str) -> bool {
        self.filters.text("verdict") == name
    }

    fn choice(&self, name: &'static str, label: &'static str, options: Vec<(String, String)>) -> Choice {
        Choice { name, label, all: self.frame.w.all, options, chosen: self.filters.text(name).to_owned() }
    }

    fn kinds(&self) -> Choice {
        let options = ["pay", "refund"].map(|name| (name.to_owned(), kind(name, self.frame.lang).to_owned()));
        self.choice("kind", self.t.kind, options.into())
    }

    fn reasons(&self) -> Choice {
        let options = ReasonClass::ALL.iter().map(|class| (class.as_str().to_owned(), class.as_str().to_owned()));
        self.choice("reason", self.frame.w.reason, options.collect())
    }

    fn merchant_choice(&self) -> Choice {
        let options = self.merchants.iter().map(|key| (key.clone(), key.clone()));
        self.choice("merchant", self.frame.w.merchant, options.collect())
    }

    fn badge(&self, row: &ArchivedRow) -> Option<Badge> {
        verdict(&row.verdict).map(|status| self.frame.badge(status))
    }

    fn kind_of(&self, row: &ArchivedRow) -> String {
        row.kind.as_deref().map_or_else(String::new, |name| kind(name, self.frame.lang).to_owned())
    }

    fn means(&self, row: &ArchivedRow) -> Option<&'static str> {
        reasons::sentence(ReasonClass::parse(row.reason.as_deref()?)?, self.frame.lang).into()
    }

    fn link(&self, row: &ArchivedRow) -> String {
        links::notification(&row.id)
    }

    fn order(&self, row: &ArchivedRow) -> Option<Id> {
        let order_no = row.order_no.as_ref()?;
        Some(self.frame.id(links::order(&row.merchant, order_no), order_no))
    }

    fn is_filtered(&self) -> bool {
        let names = ["merchant", "kind", "reason", "from", "to", "id", "order_no", "after"];
        names.iter().any(|name| self.filters.get(name).is_some())
    }

    fn empty(&self) -> &'static str {
        match self.filters.get("verdict") {
            _ if self.is_filtered() => self.t.none_match,
            Some("refused") => self.t.none_refused,
            Some("parked") => self.t.none_parked,
            Some(_) => self.t.none_match,
            None => self.t.none,
        }
    }
}
