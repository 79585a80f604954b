//! What the reconciliation with WeChat's bill says of days.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cell::Language;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::reconcile::{has_missed_noon, oldest};
use crate::reconciliation::{BillFigures, BillSide, LineKind};
use crate::store::{DayFilter, DayNote, DbError, Line, Reconciliation, Store};
use crate::wechat::v2::bill::BillDay;

/// How far a day is reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DayState {
    /// There is no bill.
    Missing,
    /// The day is not over, or its bill is not made yet.
    #[serde(rename = "not_due")]
    NotDue,
    Pending,
    Running,
    Balanced,
    Explained,
    Red,
    Failed,
}

named!(DayState {
    Missing = "missing",
    NotDue = "not_due",
    Pending = "pending",
    Running = "running",
    Balanced = "balanced",
    Explained = "explained",
    Red = "red",
    Failed = "failed",
});

impl DayState {
    /// Whether its month may be closed.
    pub const fn is_settled(self) -> bool {
        matches!(self, DayState::Balanced | DayState::Explained)
    }

    pub fn word(self, language: Language) -> &'static str {
        let chinese = match self {
            DayState::Missing => "无账单",
            DayState::NotDue => "未出账",
            DayState::Pending => "等待中",
            DayState::Running => "对账中",
            DayState::Balanced => "平",
            DayState::Explained => "已解释",
            DayState::Red => "有差异",
            DayState::Failed => "失败",
        };
        let english = if self == DayState::NotDue { "not due" } else { self.as_str() };
        language.pick(chinese, english)
    }
}

/// A day's result, and the figures of its bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciledDay {
    pub state: DayState,
    /// In yuan; none of a day without a result, or of one whose result has no sums per currency.
    pub bill: Option<ReconciledBill>,
    pub differences: i64,
    /// Whether its sums are not known per currency.
    pub is_mixed: bool,
    /// What explains the day in the place of a comparison.
    pub explained: Option<DayNote>,
    /// Of other currencies.
    pub others: BTreeMap<String, ReconciledBill>,
}

/// The figures of a bill in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciledBill {
    pub coupons_fen: i64,
    /// As decimals in the main unit.
    pub fees: String,
    pub net: String,
    pub differences_fen: i64,
}

/// Days of one sheet at most: three years.
pub const MAX_DAYS: u64 = 1100;
/// The most lines about our own rows that are in memory for a sheet. Rows whose line may be another one are marked.
const LINES: u64 = 100_000;
/// 1/100,000 yuan in a fen, the unit of fees.
const PER_FEN: i64 = 1000;

/// The days of a range that were reconciled, as of `now`.
pub async fn reconciled(
    store: &Store,
    merchant: &MerchantKey,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<BTreeMap<String, ReconciledDay>, DbError> {
    let last = Timestamp::from_ms(to.as_ms().saturating_sub(1));
    let filter = DayFilter {
        merchants: Some(vec![merchant.clone()]),
        from: Some(from.to_beijing_day()),
        to: Some(last.to_beijing_day()),
        is_red: false,
    };
    let days = store.reconciliations(&filter, None, MAX_DAYS).await?;
    Ok(days.iter().map(|day| (day.day.clone(), of_day(day, now))).collect())
}

/// Of a day that was not reconciled: its bill is missed from noon of the next day on, as in the metrics.
pub fn without_result(begin: Timestamp, now: Timestamp) -> DayState {
    if has_missed_noon(BillDay::of(begin), now) { DayState::Missing } else { DayState::NotDue }
}

fn of_day(day: &Reconciliation, now: Timestamp) -> ReconciledDay {
    // A day without a result has no figures yet. Those of another version are of all currencies together.
    let has_result = day.result().is_some();
    let has_sums = has_result && !day.is_mixed;
    // Asked for before there can be a bill: that is no failure.
    let is_early = BillDay::parse(&day.day).is_ok_and(|day| now < day.ready_at());
    let state = DayState::parse(day.state()).unwrap_or(DayState::Pending);
    let state = if state == DayState::Failed && !has_result && is_early { DayState::NotDue } else { state };
    // It is compared again, as long as WeChat has its bill: until then no month is closed over it.
    let is_kept = BillDay::parse(&day.day).is_ok_and(|day| day >= oldest(now));
    let state = if day.is_mixed && is_kept && state.is_settled() { DayState::Pending } else { state };
    let others =
        day.others.iter().map(|(currency, figures)| (currency.clone(), of_bill(&figures.bill, figures.difference_fen)));
    let yuan = of_bill(&day.bill, day.difference_fen);
    ReconciledDay {
        state,
        bill: has_sums.then_some(yuan),
        differences: day.differences,
        is_mixed: day.is_mixed,
        explained: day.explained.clone(),
        others: others.filter(|_| has_result).collect(),
    }
}

fn of_bill(bill: &BillFigures, differences_fen: i64) -> ReconciledBill {
    let net = bill.settlement_fen.saturating_mul(PER_FEN).saturating_sub(bill.fees);
    ReconciledBill { coupons_fen: bill.coupons_fen, fees: decimal(bill.fees), net: decimal(net), differences_fen }
}

/// 1/100,000 yuan as a decimal, with two digits behind the point at least: `0.54`, `0.00012`.
pub fn decimal(units: i64) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let digits = format!("{:05}", (units % 100_000).unsigned_abs());
    let part = digits.trim_end_matches('0');
    format!("{sign}{}.{part:0<2}", (units / 100_000).unsigned_abs())
}

/// A difference of a day, for the detail sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayLine {
    pub class: String,
    /// Of the bill, as decimals in yuan; the rate as the bill writes it.
    pub fee: Option<String>,
    pub rate: Option<String>,
    pub net: Option<String>,
}

/// What a day's result says of our rows of the day.
#[derive(Debug, Clone, Default)]
pub struct DayLines {
    /// None of a day that was never compared.
    pub of: Option<Reconciliation>,
    /// The lines that differ, by the number of their payment or refund.
    pub lines: BTreeMap<String, DayLine>,
    /// Whether there are more than could be read.
    pub is_cut: bool,
}

/// A row of the bill that is none of our rows of the day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillOnly {
    pub at: Timestamp,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub is_refund: bool,
    pub fen: i64,
    pub currency: String,
}

/// The lines of a day about our rows.
pub async fn day_lines(store: &Store, merchant: &MerchantKey, begin: Timestamp) -> Result<DayLines, DbError> {
    let Some(of) = store.reconciliation(merchant, &begin.to_beijing_day()).await? else {
        return Ok(DayLines::default());
    };
    let lines = store.lines_of_ours(&of, LINES + 1).await?;
    let is_cut = u64::try_from(lines.len()).unwrap_or(u64::MAX) > LINES;
    Ok(DayLines { of: Some(of), lines: lines.iter().map(|line| (number(line), of_line(line))).collect(), is_cut })
}

impl DayLine {
    /// Of a line that does not differ: it has no class to show.
    pub fn matched(is_refund: bool, side: &BillSide) -> DayLine {
        let rate = Some(side.rate.clone()).filter(|rate| !rate.is_empty());
        let net = net(is_refund, side.fen, side.fee);
        DayLine { class: String::new(), fee: Some(decimal(side.fee)), rate, net: Some(net) }
    }
}

/// What is left of an amount behind its fee.
fn net(is_refund: bool, fen: i64, fee: i64) -> String {
    let signed = if is_refund { -fen } else { fen };
    decimal(signed.saturating_mul(PER_FEN).saturating_sub(fee))
}

fn number(line: &Line) -> String {
    match line.kind {
        LineKind::Payment => line.transaction_id.clone(),
        LineKind::Refund => line.refund_no.clone().unwrap_or_else(|| line.transaction_id.clone()),
    }
}

/// The bill's side of a line, where it has one.
pub fn bill_only(line: &Line) -> Option<BillOnly> {
    Some(BillOnly {
        at: line.bill_time?,
        out_trade_no: line.out_trade_no.clone().unwrap_or_default(),
        transaction_id: line.transaction_id.clone(),
        is_refund: line.kind == LineKind::Refund,
        fen: line.bill_fen?,
        currency: line.bill_currency.clone().unwrap_or_default(),
    })
}

pub fn of_line(line: &Line) -> DayLine {
    let is_refund = line.kind == LineKind::Refund;
    let amounts = line.bill_fen.zip(line.bill_fee);
    DayLine {
        class: line.class.as_str().to_owned(),
        fee: line.bill_fee.map(decimal),
        rate: line.bill_rate.clone(),
        net: amounts.map(|(fen, fee)| net(is_refund, fen, fee)),
    }
}
