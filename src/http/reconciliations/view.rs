//! The JSON of days and lines.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Timestamp;
use crate::ops::reconciliation::{MendOutcome, PlanItem};
use crate::reconciliation::{BillFigures, CurrencyFigures, LedgerFigures, Loops};
use crate::store::{DayNote, DayRepair, Line, Reconciliation};
use crate::wechat::v2::bill::Yuan;

/// The bill's sums.
#[derive(Serialize)]
struct BillJson {
    rows: i64,
    payments: i64,
    refunds: i64,
    payments_fen: i64,
    refunds_fen: i64,
    coupons_fen: i64,
    settlement_fen: i64,
    fees: String,
}

/// Ours.
#[derive(Serialize)]
struct LedgerJson {
    rows: i64,
    payments: i64,
    refunds: i64,
    payments_fen: i64,
    refunds_fen: i64,
}

impl BillJson {
    fn of(bill: &BillFigures) -> BillJson {
        BillJson {
            rows: bill.payments + bill.refunds,
            payments: bill.payments,
            refunds: bill.refunds,
            payments_fen: bill.payments_fen,
            refunds_fen: bill.refunds_fen,
            coupons_fen: bill.coupons_fen,
            settlement_fen: bill.settlement_fen,
            fees: Yuan::from_units(bill.fees).to_string(),
        }
    }
}

impl LedgerJson {
    const fn of(ledger: &LedgerFigures) -> LedgerJson {
        LedgerJson {
            rows: ledger.payments + ledger.refunds,
            payments: ledger.payments,
            refunds: ledger.refunds,
            payments_fen: ledger.payments_fen,
            refunds_fen: ledger.refunds_fen,
        }
    }
}

/// Both sides in one currency.
#[derive(Serialize)]
struct CurrencyJson {
    bill: BillJson,
    ledger: LedgerJson,
    unexplained_fen: i64,
    difference_fen: i64,
}

impl CurrencyJson {
    fn of(figures: &CurrencyFigures) -> CurrencyJson {
        CurrencyJson {
            bill: BillJson::of(&figures.bill),
            ledger: LedgerJson::of(&figures.ledger),
            unexplained_fen: figures.unexplained_fen(),
            difference_fen: figures.difference_fen,
        }
    }
}

/// How far the newest repair is, and what it waits for.
#[derive(Serialize)]
pub struct RepairJson<'a> {
    state: &'static str,
    lines: i64,
    done: i64,
    repaired: i64,
    asked: i64,
    /// Lines that WeChat was asked about and whose money is not in the books: the day is compared again once it is.
    waits_for: i64,
    tries: i64,
    next_at: Option<Timestamp>,
    reason: &'a str,
    asked_by: &'a str,
    started_at: Timestamp,
    updated_at: Timestamp,
    stopped_by: Option<&'a str>,
    stopped_at: Option<Timestamp>,
}

impl<'a> RepairJson<'a> {
    pub fn new((repair, waits_for): &'a (DayRepair, i64)) -> RepairJson<'a> {
        RepairJson {
            state: repair.state.as_str(),
            lines: repair.lines,
            done: repair.done,
            repaired: repair.repaired,
            asked: repair.asked,
            waits_for: *waits_for,
            tries: repair.tries,
            next_at: repair.next_at,
            reason: &repair.reason,
            asked_by: repair.by.first().map(String::as_str).unwrap_or_default(),
            started_at: repair.started_at,
            updated_at: repair.updated_at,
            stopped_by: repair.stopped.as_ref().map(|(by, _)| by.as_str()),
            stopped_at: repair.stopped.as_ref().map(|(_, at)| *at),
        }
    }
}

/// A day.
#[derive(Serialize)]
pub struct DayJson<'a> {
    merchant: &'a str,
    date: &'a str,
    state: &'static str,
    /// How the newest result stands, whatever is being done now.
    result: Option<&'static str>,
    error: Option<&'a str>,
    /// The note that explains the day as a whole, in the place of a comparison.
    explained: Option<&'a DayNote>,
    bill: Option<BillJson>,
    ledger: Option<LedgerJson>,
    /// The same of other currencies than yuan: nothing is added up across currencies.
    others: BTreeMap<&'a str, CurrencyJson>,
    /// Whether an earlier version added up several currencies: then there are no sums until the day is compared again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mixed_currencies: bool,
    classes: &'a BTreeMap<String, i64>,
    unexplained_fen: Option<i64>,
    differences: i64,
    difference_fen: Option<i64>,
    open: i64,
    loops: Option<&'a Loops>,
    bill_sha256: Option<&'a str>,
    asked_by: Option<&'a str>,
    asked_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    next_try_at: Option<Timestamp>,
    /// Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<RepairJson<'a>>,
}

impl<'a> DayJson<'a> {
    pub fn new(day: &'a Reconciliation) -> DayJson<'a> {
        let result = day.result();
        let has_sums = result.is_some() && !day.is_mixed;
        DayJson {
            merchant: day.merchant.as_str(),
            date: &day.day,
            state: day.state(),
            result: result.map(|state| state.as_str()),
            error: day.error.as_deref(),
            explained: day.explained.as_ref(),
            bill: has_sums.then(|| BillJson::of(&day.bill)),
            ledger: has_sums.then(|| LedgerJson::of(&day.ledger)),
            others: day.others.iter().map(|(currency, of)| (currency.as_str(), CurrencyJson::of(of))).collect(),
            mixed_currencies: day.is_mixed,
            classes: &day.classes,
            unexplained_fen: (!day.is_mixed).then_some(day.unexplained_fen),
            differences: day.differences,
            difference_fen: (!day.is_mixed).then_some(day.difference_fen),
            open: day.open_lines,
            loops: result.map(|_| &day.loops),
            bill_sha256: day.bill_hash.as_deref(),
            asked_by: day.asked_by.as_deref(),
            asked_at: day.asked_at,
            started_at: day.started_at,
            finished_at: day.finished_at,
            next_try_at: day.next_at,
            repair: None,
        }
    }

    /// With its newest repair.
    pub fn with(self, repair: Option<&'a (DayRepair, i64)>) -> DayJson<'a> {
        DayJson { repair: repair.map(RepairJson::new), ..self }
    }
}

/// The bill's side of a line.
#[derive(Serialize)]
struct BillSideJson<'a> {
    amount_fen: i64,
    currency: Option<&'a str>,
    settlement_fen: Option<i64>,
    fee: Option<String>,
    rate: Option<&'a str>,
    at: Option<Timestamp>,
    status: Option<&'a str>,
    appid: Option<&'a str>,
}

/// Our side of it.
#[derive(Serialize)]
struct LedgerSideJson<'a> {
    amount_fen: i64,
    currency: Option<&'a str>,
    state: Option<&'a str>,
    at: Option<Timestamp>,
}

/// A line.
#[derive(Serialize)]
pub struct LineJson<'a> {
    id: i64,
    class: &'static str,
    kind: &'static str,
    transaction_id: &'a str,
    out_trade_no: Option<&'a str>,
    refund_no: Option<&'a str>,
    refund_id: Option<&'a str>,
    order_no: Option<&'a str>,
    bill: Option<BillSideJson<'a>>,
    ledger: Option<LedgerSideJson<'a>>,
    expected_fee: Option<String>,
    booked_fee: Option<String>,
    other_day: Option<&'a str>,
    explains_fen: i64,
    /// The same per currency: both sides may be in different ones.
    explains: BTreeMap<&'a str, i64>,
    /// When WeChat was asked about it, as long as its answer is waited for; what it said that does not repair it.
    asked_at: Option<Timestamp>,
    said: Option<&'a str>,
    resolution: &'static str,
    rule: Option<&'a str>,
    note: Option<&'a str>,
    resolved_by: Option<&'a str>,
    resolved_at: Option<Timestamp>,
}

impl<'a> LineJson<'a> {
    pub fn new(line: &'a Line) -> LineJson<'a> {
        let fee = |units: Option<i64>| units.map(|units| Yuan::from_units(units).to_string());
        LineJson {
            id: line.id,
            class: line.class.as_str(),
            kind: line.kind.as_str(),
            transaction_id: &line.transaction_id,
            out_trade_no: line.out_trade_no.as_deref(),
            refund_no: line.refund_no.as_deref(),
            refund_id: line.refund_id.as_deref(),
            order_no: line.order_no.as_deref(),
            bill: line.bill_fen.map(|amount_fen| BillSideJson {
                amount_fen,
                currency: line.bill_currency.as_deref(),
                settlement_fen: line.bill_settlement_fen,
                fee: fee(line.bill_fee),
                rate: line.bill_rate.as_deref(),
                at: line.bill_time,
                status: line.bill_status.as_deref(),
                appid: line.bill_appid.as_deref(),
            }),
            ledger: line.ledger_fen.map(|amount_fen| LedgerSideJson {
                amount_fen,
                currency: line.ledger_currency.as_deref(),
                state: line.ledger_state.as_deref(),
                at: line.ledger_time,
            }),
            expected_fee: fee(line.expected_fee),
            booked_fee: fee(line.booked_fee),
            other_day: line.other_day.as_deref(),
            explains_fen: line.explains_fen,
            explains: line.explains().into_iter().collect(),
            asked_at: line.asked_at,
            said: line.said.as_deref(),
            resolution: line.resolution.as_str(),
            rule: line.rule.as_deref(),
            note: line.note.as_deref(),
            resolved_by: line.resolved_by.as_deref(),
            resolved_at: line.resolved_at,
        }
    }
}

/// A line of a plan.
#[derive(Serialize)]
pub struct PlanJson<'a> {
    line: LineJson<'a>,
    mend: &'static str,
    order_no: Option<&'a str>,
}

impl<'a> PlanJson<'a> {
    pub fn new(item: &'a PlanItem) -> PlanJson<'a> {
        let order_no = item.order.as_ref().map(|stored| stored.order.order_no.as_str());
        PlanJson { line: LineJson::new(&item.line), mend: item.mend.as_str(), order_no }
    }
}

/// What a mend came to.
#[derive(Serialize)]
pub struct OutcomeJson<'a> {
    line: i64,
    mend: &'static str,
    result: &'a str,
    /// What WeChat said, where the line waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<&'a str>,
}

impl<'a> OutcomeJson<'a> {
    pub fn new(outcome: &'a MendOutcome) -> OutcomeJson<'a> {
        let (mend, said) = (outcome.mend.as_str(), outcome.said.as_deref());
        OutcomeJson { line: outcome.line, mend, result: &outcome.result, said }
    }
}
