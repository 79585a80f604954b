//! What surrounds every page, and what every page writes with.

use askama::Template;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::assets;
use super::fault::Fault;
use super::nav::{ENTRIES, Entry, Place};
use super::state::{Console, Theme};
use super::ui::id::Id;
use super::ui::money::Money;
use super::ui::status::{Badge, Status};
use super::ui::time::{Time, relative};
use super::viewer::Viewer;
use super::words::{Lang, Words};
use crate::clock::Timestamp;
use crate::money::Fen;
use crate::order::PaymentClass;
use crate::store::Right;

/// The frame of a page: field `frame` of every template that extends `console/layout.html`.
pub struct Frame {
    pub w: &'static Words,
    pub lang: Lang,
    pub theme: Theme,
    pub title: String,
    pub place: Place,
    pub now: Timestamp,
    /// Path and query of the page itself.
    pub path: String,
    /// What was searched for, for the search field.
    pub searched: String,
    pub flash: Option<String>,
    user: Option<Viewer>,
}

impl Frame {
    /// Of a page that a user sees.
    pub fn new(app: &Console, viewer: &Viewer, place: Place, title: impl Into<String>) -> Frame {
        Frame { user: Some(viewer.clone()), ..Frame::bare(app, place, title) }
    }

    /// Of a page without a session.
    pub fn bare(app: &Console, place: Place, title: impl Into<String>) -> Frame {
        Frame {
            w: Words::of(app.lang),
            lang: app.lang,
            theme: app.theme,
            title: title.into(),
            place,
            now: app.clock.now(),
            path: app.path.clone(),
            searched: String::new(),
            flash: app.flash.clone(),
            user: None,
        }
    }

    /// The lines of the navigation that the user sees.
    pub fn entries(&self) -> impl Iterator<Item = &'static Entry> {
        ENTRIES.iter().filter(|entry| self.may(entry.right))
    }

    pub fn title_of(&self, entry: &Entry) -> &'static str {
        entry.title(self.lang)
    }

    pub fn is_at(&self, entry: &Entry) -> bool {
        self.place == entry.place
    }

    pub fn user_name(&self) -> &str {
        self.user.as_ref().map_or("", Viewer::name)
    }

    /// The value of the hidden field `csrf`.
    pub fn csrf(&self) -> &str {
        self.user.as_ref().map_or("", Viewer::csrf)
    }

    /// Whether the user may do this.
    pub fn may(&self, right: Right) -> bool {
        self.user.as_ref().is_some_and(|user| user.may(right))
    }

    pub fn may_replay(&self) -> bool {
        self.may(Right::Replay)
    }

    pub fn may_refund(&self) -> bool {
        self.may(Right::Refund)
    }

    pub fn may_accept(&self) -> bool {
        self.may(Right::Accept)
    }

    /// Whether there is something that the user may do to a payer.
    pub fn may_payers(&self) -> bool {
        self.may(Right::Accept) || self.may(Right::Admin)
    }

    pub fn may_admin(&self) -> bool {
        self.may(Right::Admin)
    }

    /// The colours to choose from: the value, the word, and whether it is chosen.
    pub fn themes(&self) -> [(&'static str, &'static str, bool); 3] {
        let w = self.w;
        let words = [(Theme::Auto, w.theme_auto), (Theme::Light, w.theme_light), (Theme::Dark, w.theme_dark)];
        words.map(|(theme, word)| (theme.as_str(), word, theme == self.theme))
    }

    pub fn other_lang(&self) -> &'static str {
        self.lang.pick(Lang::En, Lang::Zh).as_str()
    }

    pub fn css(&self) -> &'static str {
        assets::css()
    }

    pub fn js(&self) -> &'static str {
        assets::js()
    }

    pub fn icon(&self) -> &'static str {
        assets::icon()
    }

    /// ¥1,234.56 in tabular figures.
    pub fn money(&self, fen: impl Into<Amount>) -> Money {
        Money::yuan(fen.into().0)
    }

    /// An amount of any currency.
    pub fn sum(&self, amount: impl Into<Amount>, currency: &str) -> Money {
        Money::of(amount.into().0, currency)
    }

    /// Beijing time, UTC on hover, relative beside it.
    pub fn time(&self, at: &Timestamp) -> Time {
        Time { at: *at, now: self.now, lang: self.lang, is_relative: true }
    }

    /// The same without the relative time.
    pub fn moment(&self, at: &Timestamp) -> Time {
        Time { is_relative: false, ..self.time(at) }
    }

    /// `3 min ago`, where the absolute time stands beside it.
    pub fn ago(&self, at: &Timestamp) -> String {
        relative(*at, self.now, self.lang)
    }

    /// The states that templates name.
    pub fn class(&self, class: &PaymentClass) -> Status {
        Status::from(*class)
    }

    pub fn degraded(&self) -> Status {
        Status::Degraded
    }

    pub fn parked(&self) -> Status {
        Status::Parked
    }

    /// A word, a shape and a colour.
    pub fn badge(&self, status: impl Into<Status>) -> Badge {
        Badge { status: status.into(), lang: self.lang }
    }

    /// An identifier with a link to its page, copied by one click.
    pub fn id(&self, href: impl Into<String>, text: impl ToString) -> Id {
        Id { href: href.into(), text: text.to_string(), copy: self.w.copy }
    }

    /// An identifier without a page, copied by one click.
    pub fn plain_id(&self, text: impl ToString) -> Id {
        self.id("", text)
    }
}

/// What can be shown as an amount.
pub struct Amount(i64);

impl From<Fen> for Amount {
    fn from(fen: Fen) -> Amount {
        Amount(fen.as_i64())
    }
}

impl From<&Fen> for Amount {
    fn from(fen: &Fen) -> Amount {
        Amount(fen.as_i64())
    }
}

impl From<i64> for Amount {
    fn from(fen: i64) -> Amount {
        Amount(fen)
    }
}

impl From<&i64> for Amount {
    fn from(fen: &i64) -> Amount {
        Amount(*fen)
    }
}

/// A page as the answer.
pub fn page(template: &impl Template) -> Result<Response, Fault> {
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], template.render()?).into_response())
}
