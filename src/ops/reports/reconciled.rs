//! What the reconciliation with WeChat's bill says of days.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cell::Language;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::reconciliation::LineKind;
use crate::store::{DayFilter, DbError, Line, Reconciliation, Store};

/// How far a day is reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DayState {
    /// There is no bill.
    Missing,
    Pending,
    Running,
    Balanced,
    Explained,
    Red,
    Failed,
}

named!(DayState {
    Missing = "missing",
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
            DayState::Pending => "等待中",
            DayState::Running => "对账中",
            DayState::Balanced => "平",
            DayState::Explained => "已解释",
            DayState::Red => "有差异",
            DayState::Failed => "失败",
        };
        language.pick(chinese, self.as_str())
    }
}

/// A day's result, and the figures of its bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconciledDay {
    pub state: DayState,
    pub coupons_fen: Option<i64>,
    pub fees: Option<String>,
    pub net: Option<String>,
    pub differences: i64,
    pub differences_fen: i64,
}

/// Days of one sheet at most: three years.
pub const MAX_DAYS: u64 = 1100;
/// The most lines of a day that are read for its sheet.
const LINES: u64 = 100_000;
/// 1/100,000 yuan in a fen, the unit of fees.
const PER_FEN: i64 = 1000;

/// The days of a range that were reconciled.
pub async fn reconciled(
    store: &Store,
    merchant: &MerchantKey,
    (from, to): (Timestamp, Timestamp),
) -> Result<BTreeMap<String, ReconciledDay>, DbError> {
    let last = Timestamp::from_ms(to.as_ms().saturating_sub(1));
    let filter = DayFilter {
        merchants: Some(vec![merchant.clone()]),
        from: Some(from.to_beijing_day()),
        to: Some(last.to_beijing_day()),
        is_red: false,
    };
    let days = store.reconciliations(&filter, None, MAX_DAYS).await?;
    Ok(days.iter().map(|day| (day.day.clone(), of_day(day))).collect())
}

fn of_day(day: &Reconciliation) -> ReconciledDay {
    // A day without a result has no figures yet.
    let has_result = day.result().is_some();
    let net = day.bill.settlement_fen.saturating_mul(PER_FEN).saturating_sub(day.bill.fees);
    ReconciledDay {
        state: DayState::parse(day.state()).unwrap_or(DayState::Pending),
        coupons_fen: has_result.then_some(day.bill.coupons_fen),
        fees: has_result.then(|| decimal(day.bill.fees)),
        net: has_result.then(|| decimal(net)),
        differences: day.differences,
        differences_fen: day.difference_fen,
    }
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
    /// What the bill has and our books do not.
    pub only_in_bill: Option<BillOnly>,
}

/// A line of the bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillOnly {
    pub at: Timestamp,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub is_refund: bool,
    pub fen: i64,
    pub currency: String,
}

/// The lines of a day that differ, by the number of their payment or refund.
pub async fn day_lines(
    store: &Store,
    merchant: &MerchantKey,
    begin: Timestamp,
) -> Result<BTreeMap<String, DayLine>, DbError> {
    let Some(day) = store.reconciliation(merchant, &begin.to_beijing_day()).await? else { return Ok(BTreeMap::new()) };
    let lines = store.reconciliation_lines(&day, None, None, LINES).await?;
    Ok(lines.iter().map(|line| (number(line), of_line(line))).collect())
}

fn number(line: &Line) -> String {
    match line.kind {
        LineKind::Payment => line.transaction_id.clone(),
        LineKind::Refund => line.refund_no.clone().unwrap_or_else(|| line.transaction_id.clone()),
    }
}

fn of_line(line: &Line) -> DayLine {
    let is_refund = line.kind == LineKind::Refund;
    let signed = |fen: i64| if is_refund { -fen } else { fen };
    let net = line.bill_fen.zip(line.bill_fee);
    let only_in_bill = line.bill_fen.filter(|_| line.ledger_fen.is_none()).map(|fen| BillOnly {
        at: line.bill_time.unwrap_or(Timestamp::from_ms(0)),
        out_trade_no: line.out_trade_no.clone().unwrap_or_default(),
        transaction_id: line.transaction_id.clone(),
        is_refund,
        fen,
        currency: line.bill_currency.clone().unwrap_or_default(),
    });
    DayLine {
        class: line.class.as_str().to_owned(),
        fee: line.bill_fee.map(decimal),
        rate: line.bill_rate.clone(),
        net: net.map(|(fen, fee)| decimal(signed(fen).saturating_mul(PER_FEN).saturating_sub(fee))),
        only_in_bill,
    }
}
