//! Refunds while WeChat refuses the merchant's key or certificate: none fails, and each goes on under its number.

use serde_json::json;
use wxpay_worker::refund::RefundState;

use crate::harness::service::{KEY, OTHER_KEY, TestService};
use crate::settling::on_both;

const FAULTS: &str = "SELECT COUNT(*) FROM merchant_faults";

on_both! {
    async fn a_refund_under_a_wrong_key_waits_and_goes_on_under_its_number_once_it_is_right(db: TestDb) {
        let mut service = TestService::new().on(db).refunds().in_process().await;
        service.paid("S100001").await;
        service.restart_with_key(OTHER_KEY).await;
        let (status, refund) = service.give_back("S100001", json!({"refund_no": "S1-a", "all": true})).await;
        assert_eq!((status, &refund["wechat"]["err_code_des"]), (202, &json!("签名错误")), "{refund}");
        let known = format!("{FAULTS} WHERE fault = 'signature' AND scope = 'calls'");
        service.until_number("the fault", &known, |n| n == 1).await;
        let after = service.until_pauses_have_grown("S1-a").await.refund;
        assert!(matches!(after.state, RefundState::Requested | RefundState::Unknown), "{after:?}");
        assert_eq!(service.wechat_refunds("S100001").await.len(), 0);
        service.restart_with_key(KEY).await;
        service.seconds_until("S1-a", |s| s.refund.state == RefundState::Processing).await;
        service.until_number("the end of the fault", FAULTS, |n| n == 0).await;
        service.ends("S1-a", "SUCCESS").await;
        service.until_refunded("S1-a", "succeeded").await;
        assert_eq!(service.wechat_refunds("S100001").await.len(), 1, "once");
        service.finish().await;
    }

    async fn an_expired_certificate_delays_refunds_alone_until_one_of_them_passes(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.faults(json!([{"on": "refund", "kind": "certificate_expired"}])).await;
        for n in 1..=2 {
            service.paid(&format!("S20000{n}")).await;
            let body = json!({"refund_no": format!("S2-{n}"), "all": true});
            let (status, refund) = service.give_back(&format!("S20000{n}"), body).await;
            assert_eq!((status, &refund["wechat"]["err_code_des"]), (202, &json!("证书已过期")), "{refund}");
        }
        let known = format!("{FAULTS} WHERE fault = 'certificate' AND scope = 'refunds'");
        service.until_number("the fault", &known, |n| n == 1).await;
        assert_eq!(service.number(FAULTS).await, 1, "one, however many are refused");
        service.place("S200009").await;
        service.until_pauses_have_grown("S2-1").await;
        service.clear_faults().await;
        let stored = service.seconds_until("S2-1", |s| s.refund.state == RefundState::Processing).await;
        assert!(stored.refund.refund_id.is_some());
        service.until_number("the end of the fault", FAULTS, |n| n == 0).await;
        service.seconds_until("S2-2", |s| s.refund.state == RefundState::Processing).await;
        for n in 1..=2 {
            service.ends(&format!("S2-{n}"), "SUCCESS").await;
            service.until_refunded(&format!("S2-{n}"), "succeeded").await;
        }
        service.finish().await;
    }
}
