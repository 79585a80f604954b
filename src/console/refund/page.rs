//! The page of the form, and what it shows.

use askama::Template;

use super::target::{Named, Target};
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::form::Fields;
use crate::console::frame::Frame;
use crate::console::state::Console;
use crate::console::ui::facts::Facts;
use crate::console::viewer::Viewer;
use crate::ids::TransactionId;
use crate::money::Fen;

#[derive(Template)]
#[template(path = "console/refund.html")]
pub struct RefundPage {
    pub frame: Frame,
    pub t: &'static Texts,
    pub facts: Facts,
    pub transaction_id: TransactionId,
    pub currency: String,
    pub action: String,
    pub back: String,
    /// Names the refund: the same form posted twice is one refund.
    pub key: String,
    /// What was entered, in yuan.
    pub entered: String,
    pub reason: String,
    /// What will go back, once it was entered.
    pub preview: Option<Fen>,
    /// None where it is not known.
    pub left_after: Option<Fen>,
    pub problem: Option<String>,
    /// A confirmed form was posted, and what came of it is not known.
    pub is_unknown: bool,
}

impl RefundPage {
    /// The form of a payment, with what was entered.
    pub fn of(
        app: &Console,
        viewer: &Viewer,
        (named, target): (&Named, &Target),
        (key, entered): (&str, &str),
    ) -> RefundPage {
        let t = Texts::of(app.lang);
        let frame = Frame::new(app, viewer, named.place(), t.refund_title);
        RefundPage {
            facts: target.facts(&frame, t),
            frame,
            t,
            transaction_id: target.payment.transaction_id.clone(),
            currency: target.payment.currency.clone(),
            action: named.action(),
            back: named.back(),
            key: key.to_owned(),
            entered: entered.to_owned(),
            reason: String::new(),
            preview: None,
            left_after: Some(target.payment.left),
            problem: None,
            is_unknown: false,
        }
    }

    /// The same form with the same key, after a confirmed one whose outcome is not known: the answer of a COMMIT can be
    /// lost. Written without the database, which may be away.
    pub fn unknown(app: &Console, viewer: &Viewer, named: &Named, fields: &Fields) -> Result<RefundPage, Fault> {
        let t = Texts::of(app.lang);
        let text = |name: &str| fields.get(name).unwrap_or_default().to_owned();
        Ok(RefundPage {
            frame: Frame::new(app, viewer, named.place(), t.refund_title),
            t,
            facts: Facts { rows: Vec::new() },
            transaction_id: named.transaction(fields.get("transaction_id"))?,
            currency: fields.get("currency").unwrap_or("CNY").to_owned(),
            action: named.action(),
            back: named.back(),
            key: text("key"),
            preview: Some(amount(&text("amount")).ok_or(Fault::Unavailable)?),
            entered: text("amount"),
            reason: text("reason"),
            left_after: None,
            problem: Some(t.refund_unknown.to_owned()),
            is_unknown: true,
        })
    }
}

/// An amount of more than nothing.
pub fn amount(entered: &str) -> Option<Fen> {
    Fen::from_yuan(entered).ok().filter(|amount| *amount > Fen::ZERO)
}
