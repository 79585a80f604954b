//! The currency of a refund is its payment's.

use std::time::Duration;

use serde_json::json;

use super::parts::refund;
use crate::sandbox::parts::{MCH_ID, Shop, order, with};

#[tokio::test]
async fn a_refund_must_name_the_payments_currency() {
    let shop = Shop::open().await;
    let cashier = shop.cashier().await;
    shop.prepay(order("A100001")).await;
    let pay = json!({"mch_id": MCH_ID, "out_trade_no": "A100001", "fee_type": "USD"});
    assert_eq!(shop.control("pay", pay).await.0, 200);
    let in_currency = |currency| with(refund("A100001", "R1", "30"), &[("refund_fee_type", currency)]);
    for fields in [refund("A100001", "R1", "30"), in_currency("CNY"), in_currency("HKD")] {
        assert_eq!(cashier.refused(fields).await, "PARAM_ERROR");
    }
    assert_eq!(cashier.take(in_currency("USD")).await["fee_type"], "USD");
    shop.paid("A100002").await;
    shop.clock.advance(Duration::from_secs(61));
    let in_currency = |currency| with(refund("A100002", "R2", "30"), &[("refund_fee_type", currency)]);
    assert_eq!(cashier.refused(in_currency("USD")).await, "PARAM_ERROR");
    assert_eq!(cashier.take(in_currency("CNY")).await["fee_type"], "CNY");
}
