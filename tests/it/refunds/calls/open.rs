//! Calls whose end is not recorded: a worker died, was stopped or lost its database in the middle. No second call goes
//! out beside such a one, and no refusal is believed until it has had its time.

use std::time::Duration;

use serde_json::json;
use wxpay_worker::event::fact::{RefundFact, WechatError};
use wxpay_worker::refund::{RefundDecision, RefundState, decide_refund};
use wxpay_worker::store::{CallSlot, Fenced, RefundCommit, RefundEvidence, RefundSource};

use crate::harness::service::{InProcess, TestService};
use crate::settling::on_both;

const LASTS: Duration = Duration::from_secs(40);

impl InProcess {
    /// A refund that WeChat did not take yet; what it says from now on is a refusal.
    async fn refused_from_now_on(&self, order_no: &str, refund_no: &str) {
        self.paid(order_no).await;
        let refuse = |code: &str, times| json!({"on": "refund", "kind": "refuse", "err_code": code, "times": times});
        let rules = json!([refuse("NOTENOUGH", Some(1)), refuse("USER_ACCOUNT_ABNORMAL", None)]);
        self.faults(rules).await;
        let refund = self.give_back_in_vain(order_no, json!({"refund_no": refund_no, "all": true})).await;
        assert_eq!(refund["state"], "requested", "{refund}");
    }

    /// What a worker writes before it calls, and dies.
    async fn call_without_end(&self, refund_no: &str, lasts: Duration) -> CallSlot {
        self.store.take_call_slot(&self.refund(refund_no).await, lasts, self.clock.now()).await.unwrap()
    }
}

on_both! {
    async fn a_refusal_beside_a_call_without_an_end_is_believed_a_minute_later(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.refused_from_now_on("Q100001", "Q1-a").await;
        assert!(matches!(service.call_without_end("Q1-a", LASTS).await, CallSlot::Call(_)));
        let before = service.to_next_poll("Q1-a").await;
        let found_at = service.clock.now();
        let polled = service.until_polled(&before).await.refund;
        assert_eq!(polled.state, RefundState::Requested, "WeChat may still carry out the dead worker's call");
        let before = service.to_next_poll("Q1-a").await;
        let polled = service.until_polled(&before).await.refund;
        assert_eq!(polled.state, RefundState::Failed);
        assert!(service.clock.now().since(found_at).as_secs() >= 60);
        assert_eq!(service.number("SELECT reserved_fen FROM refund_totals").await, 0);
        service.finish().await;
    }

    async fn no_call_goes_out_beside_one_that_is_under_way(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.refused_from_now_on("Q200001", "Q2-a").await;
        // Far longer than until the next poll.
        assert!(matches!(service.call_without_end("Q2-a", Duration::from_secs(150)).await, CallSlot::Call(_)));
        let before = service.to_next_poll("Q2-a").await.refund.queries.next_at;
        let waits = service.until_refund("waits", "Q2-a", |s| s.refund.queries.next_at != before).await;
        assert!(waits.refund.queries.next_at.unwrap().since(service.clock.now()).as_secs() <= 60);
        assert_eq!(service.calls("Q200001").await.len(), 1, "WeChat saw the first one only");
        service.clear_faults().await;
        service.poll_until("Q2-a", "processing").await;
        assert_eq!(service.calls("Q200001").await.len(), 2);
        service.finish().await;
    }

    async fn the_slots_of_one_refund_follow_each_other_and_no_older_decision_is_written_after_one(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.refused_from_now_on("Q300001", "Q3-a").await;
        let CallSlot::Call(first) = service.call_without_end("Q3-a", LASTS).await else { panic!("its slot") };
        assert_eq!(first.before, 1);
        let CallSlot::Wait { until } =
            service.call_without_end("Q3-a", LASTS).await else { panic!("a second call at once") };
        assert_eq!(until, service.clock.now().after(LASTS));
        // Decided by the first call's refusal, and late.
        let stored = service.refund("Q3-a").await;
        let refusal = WechatError { code: "ERROR".into(), message: "no".into() };
        let (now, fact) = (service.clock.now(), RefundFact::Refused(refusal));
        let RefundDecision::Apply(change) = decide_refund(&stored.refund, &fact, now) else { panic!("a failure") };
        let commit = RefundCommit {
            order_id: stored.order_id,
            before: stored.refund.version,
            unanswered_before: stored.refund.unanswered_at,
            change: *change,
            evidence: RefundEvidence { fact, source: RefundSource::Call { raw: None }, received_at: now },
            event: None,
            notification: None,
        };
        service.skip(LASTS.as_secs());
        let CallSlot::Call(second) = service.call_without_end("Q3-a", LASTS).await else { panic!("the first is over") };
        assert_eq!(second.before, 2);
        assert!(!service.store.commit_refund(&commit, now).await.unwrap(), "another call is under way");
        // The first one's end is not the second one's.
        service.store.close_call(&stored.refund, first).await.unwrap();
        assert!(matches!(service.call_without_end("Q3-a", LASTS).await, CallSlot::Wait { .. }));
        service.store.close_call(&stored.refund, second).await.unwrap();
        assert!(matches!(service.call_without_end("Q3-a", LASTS).await, CallSlot::Call(_)));
        service.finish().await;
    }

    async fn a_call_that_a_clock_a_day_ahead_wrote_down_blocks_the_refund_for_minutes(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.refused_from_now_on("Q400001", "Q4-a").await;
        service.clear_faults().await;
        let sql = "UPDATE refunds
            SET call_open_until_ms = next_at_ms + 86400000, unanswered_at_ms = next_at_ms + 86400000";
        service.store.db().execute("test", String::from(sql), []).await.unwrap();
        // The next run of the job that searches for such times.
        service.skip(31);
        let ahead = service.clock.now().after(LASTS * 2).as_ms();
        let far = format!(
            "SELECT COUNT(*) FROM refunds WHERE call_open_until_ms > {ahead} OR unanswered_at_ms > {ahead}"
        );
        service.until_number("the recall", &far, |n| n == 0).await;
        let begun = service.clock.now();
        service.seconds_until("Q4-a", |s| s.refund.state == RefundState::Processing).await;
        assert!(service.clock.now().since(begun).as_secs() <= 130, "{:?}", service.clock.now().since(begun));
        service.finish().await;
    }

    async fn what_a_right_clock_wrote_of_calls_is_left_alone(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.refused_from_now_on("Q500001", "Q5-a").await;
        assert!(matches!(service.call_without_end("Q5-a", Duration::from_secs(140)).await, CallSlot::Call(_)));
        let sql = format!("UPDATE refunds SET unanswered_at_ms = {}", service.clock.now().as_ms());
        service.store.db().execute("test", sql.clone(), []).await.unwrap();
        let Some(lease) = service.store.lease("far_times", "test", Duration::from_secs(60)).await.unwrap() else {
            // The service holds it: its own job runs with the clock.
            let open = "SELECT call_open_until_ms FROM refunds";
            let before = service.number(open).await;
            service.skip(31);
            service.until_job_ran("far_times").await;
            assert_eq!(service.number(open).await, before);
            return service.finish().await;
        };
        assert_eq!(service.store.recall_far_times(&lease, service.clock.now()).await.unwrap(), Fenced::Done(0));
        service.finish().await;
    }
}

/// The answer is durable before the call counts as over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_fails_after_the_answer_loses_nothing_of_it() {
    let service = TestService::new().on(crate::harness::db::TestDb::sqlite()).refunds().in_process().await;
    service.paid("Q600001").await;
    for trigger in [
        "CREATE TRIGGER no_end BEFORE UPDATE OF call_open_until_ms ON refunds WHEN NEW.call_open_until_ms IS NULL
         BEGIN SELECT RAISE(ABORT, 'away'); END",
        "CREATE TRIGGER no_slot BEFORE UPDATE OF next_call_at_ms ON refund_totals
         WHEN OLD.next_call_at_ms > 0 BEGIN SELECT RAISE(ABORT, 'away'); END",
    ] {
        service.store.db().execute("test", String::from(trigger), []).await.unwrap();
    }
    service.refunding("Q600001", "Q6-a", 30).await;
    assert_eq!(service.calls("Q600001").await.len(), 1);
    service.finish().await;
}
