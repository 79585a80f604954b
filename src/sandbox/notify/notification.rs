//! What a notification is about, and the elements that tell of a payment.

use crate::sandbox::faults::On;
use crate::sandbox::ledger::record::{CouponType, Payment, Refund, RefundNews, Terms};
use crate::sandbox::settings::Account;
use crate::wechat::v2::xml::Fields;

/// What a notification is about, and who signs it.
#[derive(Clone)]
pub(in crate::sandbox) struct Notification {
    pub account: Account,
    pub terms: Terms,
    pub payment: Payment,
    /// The refund it tells of; otherwise it tells of the payment.
    pub refund: Option<Box<Refund>>,
    pub url: String,
}

impl Notification {
    /// What kind of notification it is.
    pub fn on(&self) -> On {
        if self.refund.is_some() { On::RefundNotify } else { On::Notify }
    }

    /// What it tells of a refund.
    pub fn news(&self) -> Option<RefundNews> {
        self.refund.as_ref().map(|refund| refund.news())
    }
}

/// The elements that a notification and a query's answer share.
pub(in crate::sandbox) fn payment_fields(terms: &Terms, payment: &Payment) -> Fields {
    let mut fields = Fields::new();
    let mut put = |name: &str, value: String| {
        fields.insert(name.to_owned(), value);
    };
    put("openid", payment.openid.as_str().to_owned());
    put("is_subscribe", "N".to_owned());
    put("trade_type", terms.trade_type.as_str().to_owned());
    put("bank_type", payment.bank_type.clone());
    put("total_fee", payment.total_fee.to_string());
    put("fee_type", payment.fee_type.clone());
    put("cash_fee", payment.cash_fee.to_string());
    put("cash_fee_type", "CNY".to_owned());
    put("transaction_id", payment.transaction_id.as_str().to_owned());
    put("out_trade_no", terms.out_trade_no.as_str().to_owned());
    put("time_end", payment.time_end.clone());
    if !terms.attach.is_empty() {
        put("attach", terms.attach.clone());
    }
    if !terms.device_info.is_empty() {
        put("device_info", terms.device_info.clone());
    }
    if let Some(coupon_type) = payment.coupon_type {
        put("coupon_fee", payment.coupon_fee.to_string());
        put("coupon_count", "1".to_owned());
        put("coupon_id_0", "10000".to_owned());
        put("coupon_fee_0", payment.coupon_fee.to_string());
        match coupon_type {
            CouponType::Cash => put("coupon_type_0", "CASH".to_owned()),
            CouponType::NoCash => {
                put("coupon_type_0", "NO_CASH".to_owned());
                put("settlement_total_fee", payment.cash_fee.to_string());
            }
        }
    }
    fields
}
