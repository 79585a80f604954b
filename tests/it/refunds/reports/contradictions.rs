//! What WeChat says against what is known here: a person hears of it, once; nothing is entered or given back for it,
//! unless WeChat's own words leave no other way.

use serde_json::json;
use wxpay_worker::order::Queries;
use wxpay_worker::refund::RefundState;

use super::notifications::notice;
use crate::harness::service::{InProcess, KEY, MCH_ID, TestService};
use crate::settling::on_both;

impl InProcess {
    /// Another system of the merchant has refunded under this number: WeChat knows it, and our database does not.
    async fn refunded_elsewhere(&self, order_no: &str, refund_no: &str, amount_fen: i64) {
        self.refunding(order_no, refund_no, amount_fen).await;
        let sql = format!("UPDATE refunds SET refund_no = 'gone', refund_id = 'gone' WHERE refund_no = '{refund_no}'");
        self.store.db().execute("test", sql.clone(), []).await.unwrap();
    }

    /// A refund that failed here although WeChat took it on.
    async fn failed_and_alive(&self, order_no: &str, refund_no: &str) -> String {
        self.paid(order_no).await;
        let code = "USER_ACCOUNT_ABNORMAL";
        let refuse = json!({"on": "refund", "kind": "refuse", "err_code": code, "times": 1, "executed": true});
        self.faults(json!([refuse])).await;
        let (status, problem) = self.give_back(order_no, json!({"refund_no": refund_no, "amount_fen": 30})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("refund_failed")), "{problem}");
        self.refund(refund_no).await.refund.transaction_id.to_string()
    }

    /// Has the order's refunds listed.
    pub async fn poll_the_order(&self, order_no: &str) {
        let order = self.stored(order_no).await.order;
        let now = Queries { next_at: Some(self.clock.now()), answered_at: None, ..order.queries };
        self.store.schedule_query(order.id, order.version, order.queries.next_at, now).await.unwrap();
        self.skip(1);
        self.until("polled", order_no, |s| s.order.queries.next_at != now.next_at).await;
    }
}

on_both! {
    async fn wechats_success_of_a_refund_that_failed_here_is_for_a_person_to_decide(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["alive_after_failure"]);
        service.leave_books_open("a person decides about a refund that failed here and succeeded at WeChat");
        service.without_news().await;
        let transaction = service.failed_and_alive("X100001", "X1-a").await;
        // That it is closed, as a refund that failed may be, is no events.
        service.tell(notice("X100001", "X1-a", &transaction, "REFUNDCLOSE", KEY, MCH_ID), &[]).await;
        service.ends("X1-a", "SUCCESS").await;
        service.tell(notice("X100001", "X1-a", &transaction, "SUCCESS", KEY, MCH_ID), &[]).await;
        service.until_parked("alive_after_failure").await;
        assert_eq!(service.refund("X1-a").await.refund.state, RefundState::Failed);
        assert_eq!(service.number("SELECT COUNT(*) FROM refund_ledger").await, 0);
        let duplicates = "SELECT COUNT(*) FROM notifications WHERE kind = 'refund' AND verdict = 'duplicate'";
        service.until_number("the end of the first", duplicates, |n| n == 1).await;
        service.finish().await;
    }

    async fn a_listed_refund_that_failed_here_is_announced_once_however_often_it_is_listed(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["alive_after_failure"]);
        service.without_news().await;
        service.failed_and_alive("X200001", "X2-a").await;
        for _ in 0..3 {
            service.poll_the_order("X200001").await;
            service.until("answered", "X200001", |s| s.order.queries.next_at.is_none()).await;
        }
        let parked = "SELECT COUNT(*) FROM dead_letters WHERE reason = 'alive_after_failure'";
        service.until_number("a dead letter", parked, |n| n > 0).await;
        service.finish().await;
    }

    async fn an_answer_that_was_under_way_when_the_refund_ended_does_not_contradict_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().config("[wechat]\ntimeout_ms = 60000").in_process().await;
        service.without_news().await;
        service.paid("X500001").await;
        let refund = service.refunding("X500001", "X5-a", 30).await;
        let transaction = refund["transaction_id"].as_str().unwrap();
        // Long after the notification's own question, on a busy machine as well.
        service.faults(json!([{"on": "refundquery", "kind": "slow", "delay_ms": 8000, "times": 1}])).await;
        service.to_next_poll("X5-a").await;
        let asked = || service.wechat_calls("refundquery", "X500001");
        service.found("the poll's question", async || (!asked().await.is_empty()).then_some(())).await;
        service.ends("X5-a", "SUCCESS").await;
        service.tell(notice("X500001", "X5-a", transaction, "SUCCESS", KEY, MCH_ID), &[]).await;
        service.until_refunded("X5-a", "succeeded").await;
        // The poll's, the notification's, and the one that takes the poll's answer back.
        service.found("the third question", async || (asked().await.len() >= 3).then_some(())).await;
        service.finish().await;
    }

    async fn a_list_older_than_the_refunds_end_does_not_contradict_it_and_a_lasting_one_does(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["undone_after_success"]);
        service.without_news().await;
        service.paid("X600001").await;
        service.refunding("X600001", "X6-a", 30).await;
        service.ends("X6-a", "SUCCESS").await;
        service.to_next_poll("X6-a").await;
        service.until_refunded("X6-a", "succeeded").await;
        let parked = "SELECT COUNT(*) FROM dead_letters WHERE reason = 'undone_after_success'";
        for (times, dead_letters) in [(1, 0), (2, 1)] {
            let set = json!({"refund_status_0": "PROCESSING", "refund_success_time_0": null});
            service.faults(json!([{"on": "refundquery", "kind": "rewrite", "set": set, "times": times}])).await;
            let before = service.wechat_calls("refundquery", "X600001").await.len();
            service.poll_the_order("X600001").await;
            let asked = || service.wechat_calls("refundquery", "X600001");
            service.found("both questions", async || (asked().await.len() >= before + 2).then_some(())).await;
            service.until_idle().await;
            service.until_number("dead letters", parked, |n| n == dead_letters).await;
            assert_eq!(service.refund("X6-a").await.refund.state, RefundState::Succeeded);
        }
        service.finish().await;
    }

    async fn a_number_that_is_another_payments_refund_at_wechat_fails_and_frees_its_amount(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("X300001").await;
        service.refunded_elsewhere("X300001", "X3-a", 30).await;
        for (order_no, amount_fen, lost) in [("X300002", 30, 0), ("X300003", 50, 1)] {
            service.paid(order_no).await;
            // The second time the first call is lost, and the number is found when it is asked about.
            service.faults(json!([{"on": "refund", "kind": "drop", "times": lost}])).await;
            service.give_back(order_no, json!({"refund_no": "X3-a", "amount_fen": amount_fen})).await;
            service.poll_until("X3-a", "failed").await;
            let reserved = "SELECT CAST(SUM(reserved_fen) AS BIGINT) FROM refund_totals";
            assert_eq!(service.number(reserved).await, 30, "of the first order's only");
            assert_eq!(service.events(order_no).await[2..], ["refund.requested", "refund.failed"]);
            let sql = format!("UPDATE refunds SET refund_no = 'gone-{amount_fen}' WHERE refund_no = 'X3-a'");
            service.store.db().execute("test", sql.clone(), []).await.unwrap();
        }
        service.finish().await;
    }

    async fn a_number_that_has_another_amount_at_wechat_is_a_dead_letter_once(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["refund_differs"]);
        service.without_news().await;
        service.paid("X400001").await;
        service.refunded_elsewhere("X400001", "X4-a", 30).await;
        service.a_minute_later().await;
        service.give_back("X400001", json!({"refund_no": "X4-a", "amount_fen": 20})).await;
        for _ in 0..4 {
            let before = service.to_next_poll("X4-a").await;
            service.until_polled(&before).await;
        }
        let stored = service.refund("X4-a").await.refund;
        assert!(stored.state.wants_call(), "{stored:?}");
        service.finish().await;
    }
}
