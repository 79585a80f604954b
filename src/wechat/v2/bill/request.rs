//! The signed message that asks for a bill.

use super::day::BillDay;
use super::error::Flaw;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::ids::{AppId, MchId};
use crate::trade::SignType;
use crate::wechat::v2::request;

/// Which rows of the trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TradeBillType {
    /// Payments and refunds.
    All,
    /// Payments.
    Success,
    /// Refunds, with the times of their request and their success.
    Refund,
    /// Refunds of charged-up coupons.
    RechargeRefund,
}

impl TradeBillType {
    /// WeChat's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            TradeBillType::All => "ALL",
            TradeBillType::Success => "SUCCESS",
            TradeBillType::Refund => "REFUND",
            TradeBillType::RechargeRefund => "RECHARGE_REFUND",
        }
    }
}

/// Which account of the merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FundAccount {
    Basic,
    Operation,
    Fees,
}

impl FundAccount {
    /// WeChat's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            FundAccount::Basic => "Basic",
            FundAccount::Operation => "Operation",
            FundAccount::Fees => "Fees",
        }
    }
}

/// A bill of a day. There is one for each merchant, whichever of its apps asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ask {
    Trades {
        day: BillDay,
        bill_type: TradeBillType,
    },
    /// Needs a client with the merchant's certificate.
    FundFlow {
        day: BillDay,
        account: FundAccount,
    },
}

impl Ask {
    pub const fn trades(day: BillDay, bill_type: TradeBillType) -> Ask {
        Ask::Trades { day, bill_type }
    }

    pub const fn fund_flow(day: BillDay, account: FundAccount) -> Ask {
        Ask::FundFlow { day, account }
    }

    pub const fn day(&self) -> BillDay {
        match self {
            Ask::Trades { day, .. } | Ask::FundFlow { day, .. } => *day,
        }
    }

    /// Its path below the pay host.
    pub const fn path(&self) -> &'static str {
        match self {
            Ask::Trades { .. } => "/pay/downloadbill",
            Ask::FundFlow { .. } => "/pay/downloadfundflow",
        }
    }

    /// `1900000109-trades-all-20261127.csv`: the same for the same bill.
    pub fn file_name(&self, merchant: &Merchant) -> String {
        let (kind, which) = match self {
            Ask::Trades { bill_type, .. } => ("trades", bill_type.as_str()),
            Ask::FundFlow { account, .. } => ("fund-flow", account.as_str()),
        };
        let which = which.to_ascii_lowercase().replace('_', "-");
        format!("{}-{kind}-{which}-{}.csv", merchant.mch_id.as_str(), self.day().compact())
    }
}

/// What a bill must be: the answer has no signature, so its rows alone show whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub mch_id: MchId,
    pub ask: Ask,
}

/// What WeChat books around midnight may stand in the bill of the other day.
const AROUND_MIDNIGHT_MS: i64 = 3600 * 1000;

impl Expected {
    pub fn new(merchant: &Merchant, ask: Ask) -> Expected {
        Expected { mch_id: merchant.mch_id.clone(), ask }
    }

    const fn bill_type(&self) -> Option<TradeBillType> {
        match self.ask {
            Ask::Trades { bill_type, .. } => Some(bill_type),
            Ask::FundFlow { .. } => None,
        }
    }

    /// In a layout without columns for refunds, refunds would be missed.
    pub(super) fn has_refund_columns(&self) -> bool {
        !matches!(self.bill_type(), None | Some(TradeBillType::Success))
    }

    /// Whether a row of this time belongs to the bill: the answer is not signed, and says nothing of its day.
    pub(super) fn check_day(&self, at: Timestamp) -> Result<(), Flaw> {
        let (begins, ends) = (self.ask.day().begins_at().as_ms(), self.ask.day().ends_at().as_ms());
        let around = begins.saturating_sub(AROUND_MIDNIGHT_MS)..ends.saturating_add(AROUND_MIDNIGHT_MS);
        if around.contains(&at.as_ms()) { Ok(()) } else { Err(Flaw::OtherDay) }
    }

    /// Whether a row of this merchant belongs to the bill.
    pub(super) fn check(&self, mch_id: &str, is_refund: bool) -> Result<(), Flaw> {
        if mch_id != self.mch_id.as_str() {
            return Err(Flaw::OtherMerchant);
        }
        match self.bill_type() {
            Some(TradeBillType::All) => Ok(()),
            Some(TradeBillType::Success) if !is_refund => Ok(()),
            Some(TradeBillType::Refund | TradeBillType::RechargeRefund) if is_refund => Ok(()),
            Some(TradeBillType::Success | TradeBillType::Refund | TradeBillType::RechargeRefund) | None => {
                Err(Flaw::OtherBill)
            }
        }
    }
}

/// The body to send. Fund flows are signed with HMAC-SHA256 whatever the merchant's algorithm: WeChat accepts no other.
pub fn write_request(merchant: &Merchant, appid: &AppId, ask: &Ask, nonce: String) -> String {
    let mut fields = request::asker(merchant, appid);
    let mut put = |name: &str, value: &str| fields.insert(name.to_owned(), value.to_owned());
    put("bill_date", &ask.day().compact());
    put("tar_type", "GZIP");
    match ask {
        Ask::Trades { bill_type, .. } => {
            put("bill_type", bill_type.as_str());
        }
        Ask::FundFlow { account, .. } => {
            put("account_type", account.as_str());
            put("sign_type", SignType::HmacSha256.as_str());
        }
    }
    request::write(&fields, &merchant.v2_key, nonce)
}
