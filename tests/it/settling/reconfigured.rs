//! The merchant's or the app's number is another one since the order was placed: whatever is asked from then on goes by
//! the new one.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::secret::V2Key;

use super::on_both;
use crate::harness::service::{APP_ID, InProcess, MCH_ID, MINI_APP_ID, OTHER_KEY, OTHER_MCH_ID, TestService};

const BELIEVED: &str = "SELECT COUNT(*) FROM notifications WHERE verdict IN ('settled', 'duplicate')";

/// The payer pays the order's second attempt, to whom it was placed; that settles the order like any other payment.
async fn second_attempt_is_paid(service: &InProcess, order_no: &str, mch_id: &str, appid: &str) {
    let stored = service.stored(order_no).await;
    let (second, params) = (&stored.order.attempts[1], &stored.params[1].params);
    assert_eq!((second.mch_id.as_str(), second.appid.as_str()), (mch_id, appid), "what the payment is compared with");
    assert_eq!((params["mch_id"].as_str(), params["appid"].as_str()), (mch_id, appid), "what WeChat was sent");
    let number = second.out_trade_no.as_str();
    service.wechat_control("pay", json!({"out_trade_no": number, "mch_id": mch_id})).await;
    let paid = service.until_state(order_no, "paid").await.order;
    assert!(paid.flags.names().is_empty(), "{:?}", paid.flags);
    let to =
        format!("SELECT COUNT(*) FROM attempts WHERE state = 'paid' AND mch_id = '{mch_id}' AND appid = '{appid}'");
    assert_eq!(service.number(&to).await, 1);
    // A question that was due may have found the payment first; the notification is believed all the same.
    service.until_number("the notification is believed", BELIEVED, |n| n == 1).await;
}

on_both! {
    async fn a_new_attempt_after_the_app_got_another_number_is_that_apps(db: TestDb) {
        let mut service = TestService::new().on(db).second_account().in_process().await;
        service.place("N100001").await;
        service.pass(301).await;
        service.restart_with(|config| config.apps[0].app_id = AppId::parse(MINI_APP_ID).unwrap()).await;
        let body = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS60"});
        let (status, order) = service.post("/v1/orders/N100001/attempts", &body).await;
        assert_eq!((status, &order["pay_params"]["appId"]), (200, &json!(MINI_APP_ID)), "{order}");
        let first = service.stored("N100001").await.order.attempts[0].clone();
        assert_eq!(first.appid.as_str(), APP_ID, "the old one stays what it was");
        assert_eq!(service.wechat_order("N100001").await["state"], "CLOSED");
        second_attempt_is_paid(&service, "N100001", MCH_ID, MINI_APP_ID).await;
        service.finish().await;
    }

    async fn a_new_attempt_goes_by_the_configuration_in_force_without_a_restart(db: TestDb) {
        let mut service = TestService::new().on(db).second_account().in_process().await;
        service.place("N300001").await;
        service.pass(301).await;
        service.put_in_force(|config| config.apps[0].app_id = AppId::parse(MINI_APP_ID).unwrap());
        let request = json!({"openid": "oUpF8uMuAJO_M2pxb1Q9zNjWeS60"});
        let (status, order) = service.post("/v1/orders/N300001/attempts", &request).await;
        assert_eq!((status, &order["pay_params"]["appId"]), (200, &json!(MINI_APP_ID)), "{order}");
        second_attempt_is_paid(&service, "N300001", MCH_ID, MINI_APP_ID).await;
        service.finish().await;
    }

    async fn an_order_reopened_after_the_merchant_got_another_number_is_paid_to_that_one(db: TestDb) {
        let mut service = TestService::new().on(db).second_account().in_process().await;
        service.place("N200001").await;
        service.skip_to(service.stored("N200001").await.order.expires_at);
        service.until_state("N200001", "closed").await;
        service.restart_with(|config| {
            config.merchants[0].mch_id = MchId::parse(OTHER_MCH_ID).unwrap();
            config.merchants[0].v2_key = V2Key::parse(OTHER_KEY).unwrap();
        })
        .await;
        let until = service.clock.now().after(Duration::from_secs(3600));
        let body: Value = json!({"expires_at": until.to_string()});
        let (status, order) = service.post("/v1/orders/N200001/attempts", &body).await;
        assert_eq!((status, &order["state"]), (200, &json!("payable")), "{order}");
        second_attempt_is_paid(&service, "N200001", OTHER_MCH_ID, APP_ID).await;
        service.finish().await;
    }
}
