//! How each line that a bill shows can be mended.

use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::Config;
use crate::ids::{OutRefundNo, OutTradeNo, TransactionId};
use crate::ops::Page;
use crate::ops::commands::CommandError;
use crate::reconciliation::{LineClass, Resolution};
use crate::store::{DbError, Line, Reconciliation, Store, StoredOrder};
use crate::wechat::transport::Client;

/// Lines of one page of a plan.
const PAGE: u64 = 500;

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
    /// WeChat is asked about the payment's refunds, and this one is adopted; of a payment of no order, about this one.
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

/// What a mend came to, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MendOutcome {
    pub line: i64,
    pub mend: Mend,
    /// `asked`, `entered`, `known`, `note`, `waiting`, or why not.
    pub result: String,
    /// What WeChat said, where the line waits for it.
    pub said: Option<String>,
}

/// Why a repair ended early.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Store(#[from] DbError),
}

/// What would be done about the open lines of a day, up to some hundreds of them, or about one of them.
pub async fn plan(on: Repair<'_>, of: &Reconciliation, only: Option<i64>) -> Result<Vec<PlanItem>, RepairError> {
    let Some(id) = only else { return Ok(plan_page(on, of, 0).await?.rows) };
    let line = on.store.reconciliation_line(of, id).await?;
    let Some(line) = line.filter(|line| line.resolution == Resolution::Open) else { return Ok(Vec::new()) };
    Ok(vec![mend(on, of, line).await?])
}

/// The next page of a plan behind the line `after`, in the order of the lines.
pub async fn plan_page(on: Repair<'_>, of: &Reconciliation, after: i64) -> Result<Page<PlanItem, i64>, RepairError> {
    batch(on, of, after, PAGE).await
}

pub(super) async fn batch(
    on: Repair<'_>,
    of: &Reconciliation,
    after: i64,
    limit: u64,
) -> Result<Page<PlanItem, i64>, RepairError> {
    let lines = on.store.mendable_lines(of, after, limit).await?;
    let next = lines.last().filter(|_| lines.len() as u64 >= limit).map(|last| last.id);
    let mut rows = Vec::with_capacity(lines.len());
    for line in lines {
        rows.push(mend(on, of, line).await?);
    }
    Ok(Page { rows, next })
}

pub(super) async fn mend(on: Repair<'_>, of: &Reconciliation, line: Line) -> Result<PlanItem, RepairError> {
    let merchant = &of.merchant;
    let item = |mend, order| PlanItem { line: line.clone(), mend, order };
    if !matches!(line.class, LineClass::MissingHere | LineClass::RefundMissingHere) {
        return Ok(item(Mend::Note, None));
    }
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
        let Some(payment) = payment else { return Ok(item(Mend::Note, None)) };
        let Some(order_no) = payment.order_no else { return Ok(item(Mend::AdoptRefund, None)) };
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
