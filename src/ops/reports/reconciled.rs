//! What the reconciliation with WeChat's bill says of days.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cell::Language;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::{DbError, Store};

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

/// The days of a range that were reconciled.
pub async fn reconciled(
    _store: &Store,
    _merchant: &MerchantKey,
    _range: (Timestamp, Timestamp),
) -> Result<BTreeMap<String, ReconciledDay>, DbError> {
    Ok(BTreeMap::new())
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
    _store: &Store,
    _merchant: &MerchantKey,
    _begin: Timestamp,
) -> Result<BTreeMap<String, DayLine>, DbError> {
    Ok(BTreeMap::new())
}
