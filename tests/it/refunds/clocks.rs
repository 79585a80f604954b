//! A process whose clock was a day ahead has written the times of refunds: they do not wait for that day.

use serde_json::json;

use crate::harness::service::TestService;
use crate::settling::on_both;
use wxpay_worker::refund::RefundState;

on_both! {
    async fn a_refund_put_off_by_a_clock_a_day_ahead_is_asked_about_today_and_the_next_one_is_called_for(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("D100001").await;
        service.refunding("D100001", "D1-a", 10).await;
        let today = service.clock.now();
        for sql in [
            "UPDATE refunds SET next_at_ms = next_at_ms + 86400000",
            "UPDATE refund_totals SET next_call_at_ms = next_call_at_ms + 86400000, last_called = 'D1-z'",
        ] {
            service.store.db().execute("test", String::from(sql), []).await.unwrap();
        }
        let body = json!({"refund_no": "D1-b", "amount_fen": 20});
        let (status, second) = service.give_back_at_once("D100001", &body).await;
        service.until_idle().await;
        assert_eq!((status, &second["state"]), (202, &json!("requested")), "its slot is a day away: {second}");
        service.ends("D1-a", "SUCCESS").await;
        // The next run of the job that searches for such times, and then of the one that searches for due refunds.
        service.skip(31);
        service.seconds_until("D1-a", |s| s.refund.state == RefundState::Succeeded).await;
        service.a_minute_later().await;
        service.poll_until("D1-b", "processing").await;
        assert!(service.clock.now().since(today).as_secs() < 3600, "within the hour");
        service.ends("D1-b", "SUCCESS").await;
        service.poll_until("D1-b", "succeeded").await;
        service.finish().await;
    }
}
