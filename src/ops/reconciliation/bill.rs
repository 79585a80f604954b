//! A bill of WeChat's as it is, for a caller.

use super::ask::AskError;
use crate::clock::Timestamp;
use crate::config::{Config, Merchant};
use crate::reconcile::{FetchedBill, RunError, fetch_bill, oldest};
use crate::wechat::transport::Client;
use crate::wechat::v2::bill::{Ask, BillDay, DownloadError, FundAccount, TradeBillType};

/// The kinds of bills: of trades, and of the merchant's accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BillOf {
    All,
    Success,
    Refund,
    Basic,
    Operation,
    Fees,
}

named!(BillOf {
    All = "all",
    Success = "success",
    Refund = "refund",
    Basic = "basic",
    Operation = "operation",
    Fees = "fees",
});

impl BillOf {
    const fn ask(self, day: BillDay) -> Ask {
        match self {
            BillOf::All => Ask::trades(day, TradeBillType::All),
            BillOf::Success => Ask::trades(day, TradeBillType::Success),
            BillOf::Refund => Ask::trades(day, TradeBillType::Refund),
            BillOf::Basic => Ask::fund_flow(day, FundAccount::Basic),
            BillOf::Operation => Ask::fund_flow(day, FundAccount::Operation),
            BillOf::Fees => Ask::fund_flow(day, FundAccount::Fees),
        }
    }
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
pub enum BillError {
    #[error(transparent)]
    Day(#[from] AskError),
    /// In words for people.
    #[error("{0}")]
    Refused(String),
    /// There is no room for it here, or its folder cannot be used.
    #[error("{0}")]
    Files(String),
    #[error("as many bills are fetched or sent as may be")]
    Busy,
}

/// The bill of a day. It is read whole before it is given.
pub async fn bill(
    config: &Config,
    wechat: &Client,
    merchant: &Merchant,
    (day, of): (BillDay, BillOf),
    now: Timestamp,
) -> Result<FetchedBill, BillError> {
    if day.ready_at() > now {
        return Err(AskError::Day("has no bill yet: WeChat has it at ten in the morning of the next day").into());
    }
    if day < oldest(now) {
        return Err(AskError::NotKept { oldest: oldest(now).to_string() }.into());
    }
    let fetched = fetch_bill(config, wechat, merchant, &of.ask(day)).await.map_err(|e| match e {
        RunError::DiskFull(_)
        | RunError::Files(_)
        | RunError::Download(DownloadError::DiskFull(_) | DownloadError::File(_)) => BillError::Files(e.to_string()),
        other => BillError::Refused(other.to_string()),
    })?;
    fetched.ok_or(BillError::Busy)
}
