//! A refund names its currency only where WeChat would assume another one.

use wxpay_worker::wechat::v2::refund::{RefundOrder, params, write_request};
use wxpay_worker::wechat::v2::xml;

use super::our_key;
use super::requests::refund_order;

#[test]
fn only_another_currency_than_cny_is_named() {
    let sent = |order: &RefundOrder| {
        let body = write_request(&params(order), &our_key(), "n".into());
        xml::parse(body.as_bytes()).unwrap()
    };
    assert!(!sent(&refund_order()).contains_key("refund_fee_type"));
    let in_dollars = RefundOrder { refund_fee_type: Some("USD".into()), ..refund_order() };
    assert_eq!(sent(&in_dollars)["refund_fee_type"], "USD");
    assert_ne!(sent(&in_dollars)["sign"], sent(&refund_order())["sign"]);
}
