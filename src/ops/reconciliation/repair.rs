//! Repairing what a bill shows: WeChat is asked, and its answer goes the way of any other.
//!
//! What must stay true: the bill alone moves no money. A payment of an order of ours, and a refund that WeChat's
//! platform made, are learnt by the order's own query; a payment of no order is entered as such once WeChat confirms
//! it. A repair that is made again finds the money there and changes nothing. A line whose money is not in the books
//! yet stays open: that WeChat was asked explains nothing.

use super::resolve::change;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::{Config, Merchant};
use crate::event::fact::{Fact, Payment};
use crate::ids::{OutRefundNo, OutTradeNo, TransactionId};
use crate::ops::Operator;
use crate::ops::commands;
use crate::ops::commands::CommandError;
use crate::reconciliation::{LineClass, Resolution};
use crate::store::{DbError, Line, Reconciliation, Store, StoredOrder};
use crate::wechat::transport::Client;
use crate::wechat::v2::query;
use crate::wechat::v2::query::Asked;

/// Lines that one repair takes on.
const LINES_MAX: u64 = 500;

/// What repairs work with.
#[derive(Clone, Copy)]
pub struct Repair<'a> {
    pub store: &'a Store,
    pub bus: &'a Bus,
    pub config: &'a Config,
    pub clock: &'a Clock,
    pub wechat: &'a Client,
}

/// How a line can be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mend {
    /// WeChat is asked about the order's number, and its answer settles the order.
    AskAboutOrder,
    /// WeChat is asked about the payment, which is entered as one of no order.
    EnterPayment,
    /// WeChat is asked about the payment's refunds, and this one is adopted.
    AdoptRefund,
    /// The books have it by now: the day is compared anew.
    Rerun,
    /// Only a note explains it.
    Note,
}

named!(Mend {
    AskAboutOrder = "ask_about_order",
    EnterPayment = "enter_payment",
    AdoptRefund = "adopt_refund",
    Rerun = "rerun",
    Note = "note",
});

/// A line and its mend.
#[derive(Debug, Clone)]
pub struct PlanItem {
    pub line: Line,
    pub mend: Mend,
    /// The order that is asked about.
    pub order: Option<StoredOrder>,
}

/// What a mend came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MendOutcome {
    pub line: i64,
    pub mend: Mend,
    /// `asked`, `entered`, `known`, `note`, or why not.
    pub result: String,
}

/// Why a repair ended early.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// What would be done about the open lines of a day, or about one of them.
pub async fn plan(on: Repair<'_>, of: &Reconciliation, only: Option<i64>) -> Result<Vec<PlanItem>, RepairError> {
    let mut items = Vec::new();
    for class in [LineClass::MissingHere, LineClass::RefundMissingHere] {
        for line in on.store.reconciliation_lines(of, Some(class), None, LINES_MAX).await? {
            if line.resolution == Resolution::Open && only.is_none_or(|id| id == line.id) {
                items.push(mend(on, of, line).await?);
            }
        }
    }
    if let Some(id) = only.filter(|_| items.is_empty()) {
        let line = on.store.reconciliation_line(of, id).await?;
        let open = line.into_iter().filter(|line| line.resolution == Resolution::Open);
        items.extend(open.map(|line| PlanItem { line, mend: Mend::Note, order: None }));
    }
    Ok(items)
}

async fn mend(on: Repair<'_>, of: &Reconciliation, line: Line) -> Result<PlanItem, RepairError> {
    let merchant = &of.merchant;
    let item = |mend, order| PlanItem { line: line.clone(), mend, order };
    let Ok(transaction_id) = TransactionId::parse(line.transaction_id.clone()) else {
        return Ok(item(Mend::Note, None));
    };
    let payment = on.store.payment(merchant, &transaction_id).await?;
    if line.class == LineClass::RefundMissingHere {
        if let Some(number) = line.refund_no.clone().and_then(|number| OutRefundNo::parse(number).ok())
            && on.store.refund(merchant, &number).await?.is_some()
        {
            return Ok(item(Mend::Rerun, None));
        }
        let Some(order_no) = payment.and_then(|payment| payment.order_no) else { return Ok(item(Mend::Note, None)) };
        let order = on.store.order(merchant, &order_no).await?;
        return Ok(item(if order.is_some() { Mend::AdoptRefund } else { Mend::Note }, order));
    }
    if payment.is_some() {
        return Ok(item(Mend::Rerun, None));
    }
    let number = line.out_trade_no.clone().and_then(|number| OutTradeNo::parse(number).ok());
    let Some(number) = number else { return Ok(item(Mend::Note, None)) };
    let order = on.store.orders_by_out_trade_no(merchant, &[number]).await?.pop();
    let mend = if order.is_some() { Mend::AskAboutOrder } else { Mend::EnterPayment };
    Ok(item(mend, order))
}

/// Carries out a plan, and asks for the day again. The workers settle what they learn: shortly, not at once.
pub async fn apply(
    on: Repair<'_>,
    operator: &Operator,
    of: &Reconciliation,
    (merchant, only, reason): (&Merchant, Option<i64>, String),
) -> Result<Vec<MendOutcome>, RepairError> {
    let mut outcomes = Vec::new();
    let mut is_changed = false;
    for item in plan(on, of, only).await? {
        let result = match (&item.mend, &item.order) {
            (Mend::AskAboutOrder | Mend::AdoptRefund, Some(order)) => {
                commands::ask(on.bus, on.clock, &order.order).await?;
                "asked".to_owned()
            }
            (Mend::EnterPayment, _) => enter(on, merchant, &item.line).await?,
            (Mend::Rerun, _) => "known".to_owned(),
            (Mend::Note | Mend::AskAboutOrder | Mend::AdoptRefund, _) => "note".to_owned(),
        };
        let is_here = matches!(result.as_str(), "entered" | "known");
        let is_asked = result == "asked";
        is_changed |= is_here || is_asked;
        let note = format!("{reason} ({}: {result})", item.mend.as_str());
        let to = ("reconciliation.repair", Resolution::Repaired);
        let change = change((on.clock, operator), of, &item.line, to, note);
        if is_here {
            on.store.change_line(of, &change).await?;
        } else if is_asked {
            on.store.record_audit(&change.audit).await?;
        }
        outcomes.push(MendOutcome { line: item.line.id, mend: item.mend, result });
    }
    if is_changed {
        on.store.ask_reconciliation(&of.merchant, &of.day, Some(&operator.name), on.clock.now()).await?;
    }
    Ok(outcomes)
}

/// Asks WeChat about a payment of no order and enters what it confirms.
async fn enter(on: Repair<'_>, merchant: &Merchant, line: &Line) -> Result<String, RepairError> {
    let Ok(transaction_id) = TransactionId::parse(line.transaction_id.clone()) else {
        return Ok("the bill's number is none of WeChat's".to_owned());
    };
    // Any app of the merchant may ask; the one that took the payment first.
    let mut apps = on.config.app_ids(merchant);
    apps.sort_by_key(|app| Some(app.as_str()) != line.bill_appid.as_deref());
    let Some(app) = apps.first() else { return Ok("the merchant has no app to ask through".to_owned()) };
    let said = match query::ask_payment(on.wechat, merchant, app, &transaction_id).await {
        Asked::Fact(Fact::Paid(said) | Fact::Refunded(said), _) => said,
        Asked::Fact(_, _) => return Ok("WeChat knows no such payment".to_owned()),
        Asked::Refused(error) => return Ok(format!("WeChat refuses the query: {}", error.message)),
        Asked::Unknown { why, .. } => return Ok(format!("WeChat: {why}")),
    };
    if !is_same(&said, line, merchant) {
        return Ok("WeChat holds another payment under this number than its bill says".to_owned());
    }
    on.store.enter_queried(&merchant.key, &said, on.clock.now()).await?;
    Ok("entered".to_owned())
}

fn is_same(said: &Payment, line: &Line, merchant: &Merchant) -> bool {
    let number = Some(said.out_trade_no.as_str());
    said.mch_id == merchant.mch_id
        && number == line.out_trade_no.as_deref()
        && Some(said.total_fee.as_i64()) == line.bill_fen
        && Some(said.fee_type.as_str()) == line.bill_currency.as_deref()
}
