//! WeChat executes a refund and its answer is lost: the same number again, and one refund.

use futures_util::{StreamExt, stream};
use serde_json::json;
use wxpay_worker::refund::RefundState;

use crate::harness::service::TestService;
use crate::harness::{size, within_timeout};
use crate::settling::on_both;

/// At once.
const BATCH: usize = 50;

on_both! {
    async fn an_answer_lost_after_execution_converges_on_one_refund(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("L100001").await;
        for (n, fault) in [
            json!({"on": "refund", "kind": "answer_lost", "times": 3}),
            json!({"on": "refund", "kind": "half_body", "times": 2}),
            json!({"on": "refund", "kind": "reset", "times": 2}),
            json!({"on": "refund", "kind": "wrong_sign", "times": 2}),
            json!({"on": "refund", "kind": "system_error", "executed": true, "times": 2}),
            json!({"on": "refund", "kind": "system_error", "executed": false, "times": 2}),
            json!({"on": "refund", "kind": "http_500", "executed": true, "times": 1}),
            json!({"on": "refund", "kind": "refuse", "err_code": "BIZERR_NEED_RETRY", "executed": true, "times": 1}),
            json!({"on": "refund", "kind": "refuse", "err_code": "BIZERR_NEED_RETRY", "executed": false, "times": 3}),
        ].into_iter().enumerate() {
            service.faults(json!([fault])).await;
            let number = format!("lost-{n}");
            service.give_back_unheard("L100001", json!({"refund_no": number, "amount_fen": 2})).await;
            for polls in 0..6 {
                assert!(polls < 5, "{fault}: {:?}", service.refund(&number).await);
                service.to_next_poll(&number).await;
                let before = service.refund(&number).await.refund.version;
                let after = service.until_refund("polled", &number, |s| s.refund.version != before).await.refund;
                assert_ne!(after.state, RefundState::Failed, "unknown is never read as failed");
                if after.state == RefundState::Processing {
                    break;
                }
            }
            let theirs = service.wechat_refunds("L100001").await;
            assert_eq!(theirs.iter().filter(|r| r["out_refund_no"] == number).count(), 1, "{fault}");
            service.ends(&number, "SUCCESS").await;
            service.until_refunded(&number, "succeeded").await;
            service.clear_faults().await;
            service.a_minute_later().await;
        }
        service.finish().await;
    }

    async fn a_refusal_after_a_lost_answer_does_not_say_that_nothing_was_executed(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("L200001").await;
        // Executed and unheard; the question about it goes unanswered; the repeat is refused.
        service.faults(json!([
            {"on": "refund", "kind": "answer_lost", "times": 1},
            {"on": "refundquery", "kind": "answer_lost", "times": 2},
            {"on": "refund", "kind": "refuse", "err_code": "USER_ACCOUNT_ABNORMAL", "times": 1},
        ])).await;
        service.give_back_unheard("L200001", json!({"refund_no": "L200001-r1", "all": true})).await;
        let first = service.to_next_poll("L200001-r1").await.refund;
        assert_eq!(first.state, RefundState::Unknown);
        let second =
            service.until_refund("polled", "L200001-r1", |s| s.refund.version != first.version).await.refund;
        assert_eq!(second.state, RefundState::Unknown, "refused, and still not known");
        service.to_next_poll("L200001-r1").await;
        service.until_refunded("L200001-r1", "processing").await;
        assert_eq!(service.wechat_refunds("L200001").await.len(), 1);
        service.finish().await;
    }

    async fn a_refusal_is_believed_once_wechat_also_knows_no_such_refund_for_a_minute(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("L300001").await;
        service.faults(json!([
            {"on": "refund", "kind": "drop", "times": 1},
            {"on": "refund", "kind": "refuse", "err_code": "USER_ACCOUNT_ABNORMAL"},
        ])).await;
        service.give_back_unheard("L300001", json!({"refund_no": "L300001-r1", "all": true})).await;
        let asked_at = service.clock.now();
        for polls in 0..10 {
            assert!(polls < 9, "{:?}", service.refund("L300001-r1").await);
            let before = service.to_next_poll("L300001-r1").await.refund.queries;
            let after = service.until_refund("polled", "L300001-r1", |s| {
                // Taken up by the scheduler it is put off for a minute; after the poll it is scheduled anew.
                s.refund.state == RefundState::Failed || s.refund.queries.done > before.done
            }).await.refund;
            if after.state == RefundState::Failed {
                break;
            }
        }
        assert!(service.clock.now().since(asked_at).as_secs() >= 60, "the lost call had time to arrive");
        assert_eq!(service.number("SELECT reserved_fen FROM refund_totals").await, 0, "free again");
        assert_eq!(service.events("L300001").await[2..], ["refund.requested", "refund.failed"]);
        service.finish().await;
    }

    async fn a_first_call_that_is_refused_has_failed(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("L400001").await;
        let refuse = json!([{"on": "refund", "kind": "refuse", "err_code": "USER_ACCOUNT_ABNORMAL", "times": 1}]);
        service.faults(refuse).await;
        let (status, problem) = service.give_back("L400001", json!({"refund_no": "L400001-r1", "all": true})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("refund_failed")), "{problem}");
        assert_eq!(problem["wechat"]["err_code"], "USER_ACCOUNT_ABNORMAL", "{problem}");
        service.a_minute_later().await;
        service.refunding("L400001", "L400001-r2", 100).await;
        service.finish().await;
    }
}

/// Refunds, of each of which WeChat's first answer is lost; of many the second, too. Small: a hundred. Long: a
/// thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_lost_answers_make_as_many_refunds() {
    let many = size(100, 1000);
    let service = TestService::new().on(crate::harness::db::TestDb::sqlite()).refunds().in_process().await;
    let numbers: Vec<String> = (0..many).map(|n| format!("M{n:06}")).collect();
    for batch in numbers.chunks(BATCH) {
        let pay = |number: String| {
            let service = &service;
            async move { service.paid(&number).await }
        };
        stream::iter(batch.iter().cloned()).map(pay).buffer_unordered(BATCH).collect::<Vec<()>>().await;
        // More than there are refunds: a call that is repeated early must not leave another refund's first one
        // answered.
        service.faults(json!([{"on": "refund", "kind": "answer_lost", "times": BATCH + BATCH / 2}])).await;
        let back = |number: String| {
            let service = &service;
            async move { service.give_back_unheard(&number, json!({"refund_no": number, "amount_fen": 70})).await }
        };
        stream::iter(batch.iter().cloned()).map(back).buffer_unordered(BATCH).collect::<Vec<()>>().await;
        let open = "SELECT COUNT(*) FROM refunds WHERE state IN ('requested', 'unknown')";
        within_timeout("all answered", async {
            while service.number(open).await > 0 {
                service.skip(5);
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            }
        })
        .await;
        for number in batch {
            let theirs = service.wechat_refunds(number).await;
            assert_eq!(theirs.len(), 1, "{number}: one refund at WeChat");
            service.ends(number, "SUCCESS").await;
        }
        let left = "SELECT COUNT(*) FROM refunds WHERE state <> 'succeeded'";
        service.until_number("all succeeded", left, |n| n == 0).await;
    }
    assert_eq!(service.number("SELECT COUNT(*) FROM refund_ledger WHERE amount_fen = 70").await, i64::from(many));
    service.finish().await;
}
