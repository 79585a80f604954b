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
use crate::order::CNY;

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
    /// What was entered: yuan, or a number of the other currency's smallest unit.
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
        let currency = fields.get("currency").unwrap_or(CNY).to_owned();
        let entered = text(field(&currency));
        let preview = amount(&entered, &currency).ok_or(Fault::Unavailable)?;
        Ok(RefundPage {
            frame: Frame::new(app, viewer, named.place(), t.refund_title),
            t,
            facts: Facts { rows: Vec::new() },
            transaction_id: named.transaction(fields.get("transaction_id"))?,
            currency,
            action: named.action(),
            back: named.back(),
            key: text("key"),
            preview: Some(preview),
            entered,
            reason: text("reason"),
            left_after: None,
            problem: Some(t.refund_unknown.to_owned()),
            is_unknown: true,
        })
    }
}

impl RefundPage {
    fn is_cny(&self) -> bool {
        self.currency == CNY
    }

    fn field(&self) -> &'static str {
        field(&self.currency)
    }
}

/// The form's field with the amount. Other currencies have one of their own: the version before reads yuan in `amount`,
/// and must not take a number of smallest units for them.
pub fn field(currency: &str) -> &'static str {
    if currency == CNY { "amount" } else { "units" }
}

/// An amount of more than nothing: in yuan with two decimals, of another currency in whole smallest units, as its
/// amounts are shown. How many decimals a currency has is not ours to know.
pub fn amount(entered: &str, currency: &str) -> Option<Fen> {
    let amount = if currency == CNY { Fen::from_yuan(entered) } else { Fen::parse_field(entered) };
    amount.ok().filter(|amount| *amount > Fen::ZERO)
}

/// As it is entered: `12.50`, `1250`.
pub fn as_entered(amount: Fen, currency: &str) -> String {
    if currency != CNY {
        return amount.to_string();
    }
    format!("{}.{:02}", amount.as_i64() / 100, amount.as_i64() % 100)
}
