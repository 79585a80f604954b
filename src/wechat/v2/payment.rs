//! A payment as notifications and query replies both describe it.
//!
//! Only what decides about money must be there and well formed; what merely describes the payer (`openid`, `bank_type`,
//! `cash_fee` …) is taken when it is readable and left out when it is not, so that no payment is lost over a new
//! spelling of it. The caller has verified the message before it gets here.

use super::coupon;
use super::coupon::Coupon;
use super::reply::text;
use super::xml::Fields;
use crate::clock::Timestamp;
use crate::event::fact::{CouponPart, Payment};
use crate::ids::{AppId, MchId, OpenId, OutTradeNo, TransactionId};
use crate::money::Fen;

/// Coupons of one payment, and characters of a coupon's number: WeChat's own limits are far below.
const MOST_COUPONS: usize = 100;
const MOST_ID_BYTES: usize = 64;

/// A verified message lacks a required element, or the element is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} missing or malformed")]
pub struct Incomplete {
    /// The element.
    pub field: &'static str,
}

/// Parses the payment of a verified message.
pub fn parse(fields: &Fields) -> Result<Payment, Incomplete> {
    let of = |field: &'static str| text(fields, field);
    let amount = |field: &'static str| Fen::parse_field(of(field)).ok();
    Ok(Payment {
        mch_id: MchId::parse(of("mch_id")).map_err(|_| Incomplete { field: "mch_id" })?,
        appid: AppId::parse(of("appid")).map_err(|_| Incomplete { field: "appid" })?,
        out_trade_no: out_trade_no(fields)?,
        transaction_id: TransactionId::parse(of("transaction_id"))
            .map_err(|_| Incomplete { field: "transaction_id" })?,
        total_fee: amount("total_fee").filter(|fee| *fee > Fen::ZERO).ok_or(Incomplete { field: "total_fee" })?,
        fee_type: Some(of("fee_type")).filter(|t| !t.is_empty()).unwrap_or("CNY").to_owned(),
        time_end: Timestamp::parse_beijing(of("time_end")).map_err(|_| Incomplete { field: "time_end" })?,
        openid: OpenId::parse(of("openid")).ok(),
        bank_type: Some(of("bank_type")).filter(|t| !t.is_empty()).map(str::to_owned),
        cash_fee: amount("cash_fee"),
        settlement_total_fee: amount("settlement_total_fee"),
        coupons: coupon::of_payment(fields).into_iter().filter_map(part).take(MOST_COUPONS).collect(),
    })
}

/// Which coupons paid is detail for finance: one whose number is no number is left out.
fn part(coupon: Coupon) -> Option<CouponPart> {
    let is_number =
        (1..=MOST_ID_BYTES).contains(&coupon.id.len()) && coupon.id.bytes().all(|b| b.is_ascii_alphanumeric());
    is_number.then_some(CouponPart { id: coupon.id, kind: coupon.kind, fee: coupon.fee })
}

/// The attempt's number in a verified message.
pub fn out_trade_no(fields: &Fields) -> Result<OutTradeNo, Incomplete> {
    OutTradeNo::parse(text(fields, "out_trade_no")).map_err(|_| Incomplete { field: "out_trade_no" })
}
