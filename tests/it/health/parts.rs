//! One app or one trade type of a merchant, whose other orders pass.

use serde_json::{Value, json};
use wxpay_worker::ids::AppId;

use crate::harness::service::{API_KEY, InProcess, MINI_APP_ID, TestService, answer, jsapi, signed_refusal};
use crate::settling::on_both;

impl InProcess {
    /// An order through the mini program.
    pub async fn ordered_by_mini(&self, order_no: &str) -> Value {
        let mut content = jsapi(order_no, 100);
        content["app"] = json!("mini");
        let request = self.http.post(format!("{}/v1/orders", self.base)).bearer_auth(API_KEY);
        let request = request.header("content-type", "application/json").header("prefer", "wait=0");
        answer(request.body(content.to_string())).await.unwrap().1
    }
}

on_both! {
    async fn an_app_that_is_refused_alone_is_degraded_until_the_probe_passes_by_it(db: TestDb) {
        let mut service = TestService::new().on(db).mini_program().in_process().await;
        service.restart_with(|config| config.apps[1].app_id = AppId::parse("wx0000000000000001").unwrap()).await;
        service.ordered_by_mini("P100001").await;
        service.pass_times(20, 6).await;
        service.until_state("P100001", "failed").await;
        assert_eq!(service.health_events().await, ["degraded app:mini"]);
        let row = service.degraded().await.remove(0);
        let about = (&row["reason"], &row["check"], &row["wechat"]["err_code"]);
        assert_eq!(about, (&json!("app_id"), &json!("apps.app_id"), &json!("APPID_NOT_EXIST")), "{row}");
        assert_eq!(service.merchant_check().await["ok"], json!(false));
        // Orders through the other app pass, and say nothing about this one.
        service.place("P100002").await;
        service.pass_times(61, 2).await;
        assert_eq!(service.health_events().await, ["degraded app:mini"]);
        service.restart_with(|config| config.apps[1].app_id = AppId::parse(MINI_APP_ID).unwrap()).await;
        service.pass_times(10, 2).await;
        service.until_health_events(&["degraded app:mini", "recovered app:mini"]).await;
        assert_eq!(service.degraded().await, Vec::<Value>::new());
        service.finish().await;
    }

    async fn a_trade_type_without_permission_is_degraded_until_an_order_of_it_passes_or_a_day_is_over(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let body = signed_refusal("NOAUTH", "商户无此接口权限");
        let refused = json!([{"on": "unifiedorder", "kind": "raw", "body": body, "times": 2}]);
        service.faults(refused.clone()).await;
        for order_no in ["P200001", "P200002"] {
            service.place_unanswered(order_no).await;
            service.until_state(order_no, "failed").await;
        }
        service.until_health_events(&["degraded trade_type:JSAPI:shop"]).await;
        let row = service.degraded().await.remove(0);
        assert_eq!((&row["reason"], &row["next_probe_at"]), (&json!("permission"), &Value::Null), "{row}");
        service.place("P200003").await;
        let once = ["degraded trade_type:JSAPI:shop", "recovered trade_type:JSAPI:shop"];
        service.until_health_events(&once).await;

        service.pass(601).await;
        service.faults(refused).await;
        service.place_unanswered("P200004").await;
        service.until_state("P200004", "failed").await;
        service.clear_faults().await;
        let twice = [once, once].concat();
        service.until_health_events(&twice[..3]).await;
        service.pass_times(43_000, 3).await;
        service.until_health_events(&twice).await;
        service.finish().await;
    }
}
