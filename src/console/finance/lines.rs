//! What a page says of a line: both sides, what differs, how it stands.

use super::words::{FinanceWords, class_word, rule_word};
use crate::console::frame::Frame;
use crate::console::links;
use crate::console::ui::id::Id;
use crate::console::ui::money::Money;
use crate::console::ui::status::{Badge, Status};
use crate::ops::reports::fee_text;
use crate::reconciliation::{LineClass, LineKind, Resolution};
use crate::store::Line;

/// A line as the pages show it.
pub struct LineView {
    pub id: i64,
    pub class: String,
    pub order: Option<Id>,
    /// Ours of a refund, WeChat's of a payment.
    pub number: Id,
    pub bill: Option<Money>,
    pub ours: Option<Money>,
    /// What differs beside the amounts.
    pub differs: String,
    pub badge: Badge,
    pub note: String,
    pub by: Option<String>,
    /// What WeChat said when it was asked about an open line.
    pub said: String,
    pub rule: String,
    pub is_open: bool,
    /// Whether a repair may bring what is missing.
    pub is_repairable: bool,
}

/// The classes of which a repair may bring what is missing.
pub fn is_repairable(class: LineClass) -> bool {
    matches!(class, LineClass::MissingHere | LineClass::RefundMissingHere)
}

impl LineView {
    pub fn new(line: &Line, frame: &Frame, t: &FinanceWords) -> LineView {
        let side = |fen: Option<i64>, currency: &Option<String>| {
            let signed = |fen: i64| if line.kind == LineKind::Refund { -fen } else { fen };
            fen.map(|fen| Money::of(signed(fen), currency.as_deref().unwrap_or("CNY")))
        };
        let number = match line.kind {
            LineKind::Payment => &line.transaction_id,
            LineKind::Refund => line.refund_no.as_ref().unwrap_or(&line.transaction_id),
        };
        let order = match (&line.order_no, &line.out_trade_no) {
            (Some(order_no), _) => Some(frame.id(links::order(&line.merchant, order_no), order_no)),
            (None, Some(number)) => Some(frame.plain_id(number)),
            (None, None) => None,
        };
        let is_open = line.resolution == Resolution::Open;
        LineView {
            id: line.id,
            class: class_word(line.class.as_str(), frame.lang).to_owned(),
            order,
            number: frame.plain_id(number),
            bill: side(line.bill_fen, &line.bill_currency),
            ours: side(line.ledger_fen, &line.ledger_currency),
            differs: differs(line, t),
            badge: frame.badge(resolution(line.resolution)),
            note: line.note.clone().unwrap_or_default(),
            by: line.resolved_by.clone(),
            said: if is_open { said(line, t) } else { String::new() },
            rule: line.rule.as_deref().map(|rule| rule_word(rule, frame.lang).to_owned()).unwrap_or_default(),
            is_open,
            is_repairable: is_open && is_repairable(line.class),
        }
    }
}

fn resolution(resolution: Resolution) -> Status {
    match resolution {
        Resolution::Open => Status::Differs,
        Resolution::Resolved | Resolution::Covered => Status::Explained,
        Resolution::Repaired => Status::Done,
        Resolution::None => Status::Carried,
    }
}

fn said(line: &Line, t: &FinanceWords) -> String {
    let Some(words) = &line.said else { return String::new() };
    let again = line.asked_at.map(|_| format!(" ({})", t.asked_again)).unwrap_or_default();
    format!("{}: {words}{again}", t.wechat_said)
}

fn differs(line: &Line, t: &FinanceWords) -> String {
    let mut parts = Vec::new();
    if line.class == LineClass::Fee {
        parts.extend(line.bill_fee.map(|fee| format!("{} ¥{}", t.fees, fee_text(fee))));
        parts.extend(line.expected_fee.map(|fee| format!("{} ¥{}", t.should_be, fee_text(fee))));
        parts.extend(line.booked_fee.map(|fee| format!("{} ¥{}", t.booked, fee_text(fee))));
    }
    if matches!(line.class, LineClass::Status | LineClass::RefundPending | LineClass::RefundReversed) {
        parts.extend(line.bill_status.as_ref().map(|status| format!("{} {status}", t.bill_says)));
        parts.extend(line.ledger_state.as_ref().map(|state| format!("{} {state}", t.books_say)));
    }
    parts.extend(line.other_day.as_ref().map(|day| format!("{} {day}", t.on_day)));
    parts.join(" · ")
}
