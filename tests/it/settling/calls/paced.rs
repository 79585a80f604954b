//! The rate limiter: WeChat is left alone after it was called too often, by every process and for every API, and no
//! order or refund fails of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::Store;

use crate::harness::service::{API_KEY, InProcess, TestService, answer, jsapi};
use crate::harness::within_timeout;
use crate::settling::on_both;

/// The first pause. It is measured from before the call that brings it, so that a busy machine only makes it longer.
const PAUSE: Duration = Duration::from_millis(980);

impl InProcess {
    /// Requests an order without waiting for its pay parameters.
    async fn request(&self, order_no: &str) {
        let request = self.http.post(format!("{}/v1/orders", self.base)).bearer_auth(API_KEY);
        let request = request.header("content-type", "application/json").header("prefer", "wait=0");
        let (status, order) = answer(request.body(jsapi(order_no, 100).to_string())).await.unwrap();
        assert!([200, 202].contains(&status), "{order}");
    }

    async fn until_unknown(&self, order_no: &str) {
        self.until("put off", order_no, |s| s.order.flags.outcome_unknown).await;
    }

    /// Awaits that WeChat asked for a pause of so long.
    async fn until_pause(&self, api: &str, ms: i64) {
        let sql = format!("SELECT COALESCE(MAX(backoff_ms), 0) FROM call_rates WHERE api = '{api}'");
        self.until_number("a pause", &sql, |backoff_ms| backoff_ms == ms).await;
    }

    /// Every pause ends so much later.
    async fn move_pauses(&self, ms: i64) {
        let sql = format!("UPDATE call_rates SET resume_at_ms = resume_at_ms + {ms}");
        self.store.db().execute("test", sql, []).await.unwrap();
    }

    async fn orders_placed(&self, order_no: &str) -> usize {
        self.wechat_calls("unifiedorder", order_no).await.len()
    }

    /// Moves the clock on until the order can be paid.
    async fn in_time(&self, order_no: &str) {
        within_timeout(&format!("{order_no} payable"), async {
            while tokio::time::timeout(Duration::from_secs(1), self.until_state(order_no, "payable")).await.is_err() {
                self.skip(10);
            }
        })
        .await;
    }
}

fn throttling(api: &str, times: Option<u32>) -> Value {
    json!([{"on": api, "kind": "rate_limit", "times": times}])
}

on_both! {
    async fn after_too_many_orders_the_next_one_comes_a_second_later_and_then_two(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.faults(throttling("unifiedorder", None)).await;
        let begun = Instant::now();
        service.request("P100001").await;
        service.until_pause("unifiedorder", 1_000).await;
        service.request("P100002").await;
        service.until_pause("unifiedorder", 2_000).await;
        let waited = begun.elapsed();
        assert!(waited >= PAUSE, "the next call came after {waited:?}");
        // Longer than a worker waits: it is not called, and it is not lost.
        service.move_pauses(20_000).await;
        service.request("P100003").await;
        service.until_unknown("P100003").await;
        let calls = [service.orders_placed("P100001").await, service.orders_placed("P100002").await];
        assert_eq!((calls, service.orders_placed("P100003").await), ([1, 1], 0));
        let (status, order) = service.get("/v1/orders/P100003").await;
        assert_eq!((status, &order["state"]), (200, &json!("requested")), "{order}");

        service.clear_faults().await;
        service.move_pauses(-20_000).await;
        for order_no in ["P100001", "P100002", "P100003"] {
            service.in_time(order_no).await;
            assert_eq!(service.stored(order_no).await.order.attempts.len(), 1);
        }
        service.finish().await;
    }

    async fn more_orders_than_the_rate_are_answered_202_and_placed_later(db: TestDb) {
        // So few that a busy machine does not spread the requests over the time that all of them need.
        let service = TestService::new().on(db).merchant("orders_per_second = 1").in_process().await;
        let begun = Instant::now();
        let order_nos: Vec<String> = (0..14).map(|n| format!("P2{n:05}")).collect();
        futures_util::future::join_all(order_nos.iter().map(|order_no| service.request(order_no))).await;
        for order_no in &order_nos {
            service.until("placed or put off", order_no, |s| {
                s.order.flags.outcome_unknown || s.order.state.as_str() == "payable"
            }).await;
        }
        let mut placed = 0;
        for order_no in &order_nos {
            placed += service.orders_placed(order_no).await;
        }
        let most = 1 + usize::try_from(begun.elapsed().as_secs()).unwrap();
        assert!(placed <= most && placed < order_nos.len(), "{placed} placed, {most} allowed");
        for order_no in &order_nos {
            service.in_time(order_no).await;
        }
        service.finish().await;
    }

    async fn after_too_many_queries_the_next_one_comes_a_second_later(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("P300001").await;
        service.place("P300002").await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        service.pay("P300001").await;
        service.pay("P300002").await;
        service.faults(throttling("orderquery", Some(1))).await;
        // Its caller waits for an answer, and longer than the pause lasts.
        let begun = Instant::now();
        let throttled = service.get("/v1/orders/P300001?refresh=1");
        let next = async {
            service.until_pause("orderquery", 1_000).await;
            service.get("/v1/orders/P300002?refresh=1").await;
            service.until_state("P300002", "paid").await;
            begun.elapsed()
        };
        let (_, waited) = tokio::join!(throttled, next);
        assert!(waited >= PAUSE, "the next query came after {waited:?}");
        // The other one is asked about again by its schedule.
        let next = service.stored("P300001").await.order.queries.next_at.unwrap();
        service.skip_to(next);
        service.until_state("P300001", "paid").await;
        service.finish().await;
    }

    async fn after_too_many_refunds_the_next_one_comes_a_second_later(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("P400001").await;
        service.paid("P400002").await;
        service.faults(throttling("refund", Some(1))).await;
        let begun = Instant::now();
        service.give_back_unheard("P400001", json!({"refund_no": "P4-a", "all": true})).await;
        service.until_pause("refund", 1_000).await;
        service.give_back("P400002", json!({"refund_no": "P4-b", "all": true})).await;
        service.until_refunded("P4-b", "processing").await;
        let waited = begun.elapsed();
        assert!(waited >= PAUSE, "the next refund came after {waited:?}");
        service.poll_until("P4-a", "processing").await;
        for refund_no in ["P4-a", "P4-b"] {
            service.ends(refund_no, "SUCCESS").await;
            service.until_refunded(refund_no, "succeeded").await;
        }
        service.finish().await;
    }

    async fn a_pause_that_another_process_was_asked_for_is_kept_with_permits_in_hand(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        // The rate is 500 a second: of the permits taken for this one, some are left.
        service.place("P500001").await;
        let other = Store::new(service.open_db().await);
        let main = MerchantKey::parse("main").unwrap();
        let since = Instant::now();
        let pause = other.back_off(&main, "unifiedorder", Duration::ZERO).await.unwrap();
        assert_eq!(pause, Duration::from_secs(1));
        // As long as a process may go on before it checks.
        tokio::time::sleep(Duration::from_millis(120)).await;
        service.place("P500002").await;
        let placed = since.elapsed();
        assert!(placed >= Duration::from_millis(980), "called after {placed:?}");
        service.finish().await;
    }

    async fn without_calls_nothing_is_written(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let sql = "SELECT MAX(reserved_until_us) FROM call_rates WHERE api = 'unifiedorder'";
        // Ten permits are taken at once, and are good for ten seconds: a busy machine may need longer for its calls.
        let five_without_a_write = async {
            for round in 0.. {
                service.place(&format!("P6{round:04}0")).await;
                let reserved = service.number(sql).await;
                for n in 1..=5 {
                    service.place(&format!("P6{round:04}{n}")).await;
                }
                if service.number(sql).await == reserved {
                    break;
                }
            }
        };
        within_timeout("five calls that cost no write", five_without_a_write).await;
        service.finish().await;
    }
}
