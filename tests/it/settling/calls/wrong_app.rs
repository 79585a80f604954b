//! A number that may have been placed under a wrong app: found out, and closed, by the app that is configured later.

use serde_json::json;
use wxpay_worker::ids::AppId;
use wxpay_worker::order::{AttemptState, OrderState};

use crate::harness::service::{APP_ID, InProcess, TestService};
use crate::settling::held::{classes, texts};
use crate::settling::on_both;

const WRONG: &str = "wx0000000000000001";

impl InProcess {
    async fn restart_with_app(&mut self, app_id: &str) {
        let app_id = AppId::parse(app_id).unwrap();
        self.restart_with(|config| config.apps[0].app_id = app_id).await;
    }

    /// Of the calls under the wrong app the first has no answer, and the second is refused.
    async fn place_under_the_wrong_app(&mut self, order_no: &str) {
        self.restart_with_app(WRONG).await;
        self.faults(json!([{"on": "unifiedorder", "kind": "answer_lost", "times": 1}])).await;
        self.place_unanswered(order_no).await;
        let refused = |s: &wxpay_worker::store::StoredOrder| {
            let attempt = &s.order.attempts[0];
            attempt.error.as_ref().is_some_and(|e| e.code == "APPID_NOT_EXIST") && attempt.setup_refusals.is_none()
        };
        self.until("refused", order_no, refused).await;
    }
}

on_both! {
    async fn it_goes_on_under_its_number_by_the_right_app(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.place_under_the_wrong_app("V100001").await;
        service.pass_times(30, 3).await;
        let waiting = service.stored("V100001").await.order;
        assert_eq!((waiting.state, waiting.attempts[0].appid.as_str()), (OrderState::Requested, WRONG));
        let calls = service.wechat_calls("unifiedorder", "V100001").await.len();
        service.restart_with_app(APP_ID).await;
        service.until_payable("V100001").await;
        assert_eq!(service.wechat_calls("unifiedorder", "V100001").await.len(), calls + 1);
        assert_eq!(service.wechat_order("V100001").await["appid"], APP_ID);
        service.pay("V100001").await;
        let paid = service.until_state("V100001", "paid").await.order;
        assert_eq!((paid.attempts.len(), paid.attempts[0].appid.as_str()), (1, APP_ID));
        assert!(paid.flags.names().is_empty(), "{paid:?}");
        assert_eq!(service.events("V100001").await, ["order.payable", "order.paid"]);
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 1);
        service.finish().await;
    }

    async fn money_that_wechat_has_under_the_right_app_is_held_and_never_credited(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.place_under_the_wrong_app("V200001").await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        service.sold_elsewhere("V200001", json!({})).await;
        service.restart_with_app(APP_ID).await;
        service.skip(301);
        service.until("held", "V200001", |s| s.order.flags.amount_mismatch).await;
        assert_eq!(classes(&service, "V200001").await, (texts(&["held mismatched"]), texts(&["payment ->held"])));
        service.skip_to(service.stored("V200001").await.order.expires_at);
        service.until_state("V200001", "closed").await;
        assert_eq!(service.events("V200001").await, ["payment.held", "order.closed"]);
        assert_eq!(service.number("SELECT COUNT(*) FROM orders WHERE paid_told").await, 0);
        service.finish().await;
    }

    async fn what_is_unpaid_under_the_right_app_is_closed_by_it(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.place_under_the_wrong_app("V300001").await;
        service.placed_elsewhere("V300001").await;
        service.restart_with_app(APP_ID).await;
        let expires_at = service.stored("V300001").await.order.expires_at;
        service.skip_to(expires_at);
        service.pass_times(130, 2).await;
        let closed = service.until_state("V300001", "closed").await.order;
        assert_eq!(closed.attempts[0].state, AttemptState::Closed);
        assert_eq!(service.wechat_order("V300001").await["state"], "CLOSED");
        assert_eq!(service.events("V300001").await, ["order.closed"]);
        service.finish().await;
    }

    async fn while_the_whole_merchant_is_refused_the_other_app_is_not_tried(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        service.place_under_the_wrong_app("V400001").await;
        service.restart_with_app(APP_ID).await;
        let everywhere = ["unifiedorder", "orderquery"].map(|on| json!({"on": on, "kind": "foreign_address"}));
        service.faults(json!(everywhere)).await;
        service.pass_times(30, 3).await;
        let waiting = service.stored("V400001").await.order;
        assert_eq!((waiting.state, waiting.attempts[0].appid.as_str()), (OrderState::Requested, WRONG));
        service.clear_faults().await;
        service.until_payable("V400001").await;
        service.finish().await;
    }
}
