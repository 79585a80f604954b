//! When a refund is polled: no request or notification postpones that, and a clock that differs drops nothing.

use std::time::{Duration, Instant};

use serde_json::json;
use wxpay_worker::bus::{Bus, Message};
use wxpay_worker::event::command::RefundDue;
use wxpay_worker::event::envelope::{Envelope, EventData};
use wxpay_worker::event::subject;
use wxpay_worker::ids::{MerchantKey, OutRefundNo};
use wxpay_worker::refund::RefundState;

use super::reports::notifications::notice;
use crate::harness::bus::bus_settings;
use crate::harness::service::{InProcess, KEY, MCH_ID, TestService};
use crate::harness::within_timeout;
use crate::settling::on_both;

/// How long a refresh waits for WeChat's answer.
const REFRESH_WAIT: Duration = Duration::from_secs(3);

impl InProcess {
    /// When the refund is polled next, from now.
    async fn next_in(&self, refund_no: &str) -> u64 {
        self.refund(refund_no).await.refund.queries.next_at.unwrap().since(self.clock.now()).as_secs()
    }

    /// A refund of 30 fen that WeChat took on and tells nothing of, asked about hourly by now.
    async fn asked_about_hourly(&self, order_no: &str, refund_no: &str) -> String {
        self.without_news().await;
        self.paid(order_no).await;
        let refund = self.refunding(order_no, refund_no, 30).await;
        while self.next_in(refund_no).await < 3000 {
            let before = self.to_next_poll(refund_no).await;
            self.until_polled(&before).await;
        }
        refund["transaction_id"].as_str().unwrap().to_owned()
    }
}

on_both! {
    async fn a_refund_that_a_caller_polls_is_called_for_again_all_the_same(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("K100001").await;
        service.faults(json!([{"on": "refund", "kind": "drop", "times": 1}])).await;
        service.give_back_unheard("K100001", json!({"refund_no": "K1-a", "all": true})).await;
        service.until_idle().await;
        // A caller that asked would postpone it by 10, 20, 40, 80 … seconds.
        for polls in 0.. {
            assert!(polls < 5, "{:?}", service.refund("K1-a").await);
            let before = service.refund("K1-a").await.refund.queries.answered_at;
            // WeChat is asked about one refund every two seconds at most.
            let refund = within_timeout("an answer of WeChat", async {
                loop {
                    let (status, refund) = service.get("/v1/refunds/K1-a?refresh=1").await;
                    assert_eq!(status, 200, "{refund}");
                    let now = service.refund("K1-a").await.refund.queries.answered_at;
                    if refund["state"] == "processing" || now != before {
                        return refund;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
            if refund["state"] == "processing" {
                break;
            }
            service.pass(20).await;
        }
        assert_eq!(service.wechat_refunds("K100001").await.len(), 1);
        assert_eq!(service.calls("K100001").await.len(), 2);
        service.finish().await;
    }

    async fn asking_by_hand_is_answered_and_moves_no_poll(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("K200001").await;
        service.refunding("K200001", "K2-a", 30).await;
        let first = service.refund("K2-a").await.refund.queries;
        // Three seconds each, if nothing ended the wait: a waiting caller hears that WeChat answered. On a busy machine
        // not every answer comes in time.
        service.skip(1);
        within_timeout("an answer to a caller who waits", async {
            loop {
                let before = service.refund("K2-a").await.refund.queries;
                let started = Instant::now();
                let (status, refund) = service.get("/v1/refunds/K2-a?refresh=1").await;
                assert_eq!((status, &refund["state"]), (200, &json!("processing")), "{refund}");
                let waited = started.elapsed();
                let after = service.refund("K2-a").await.refund.queries;
                assert_eq!((after.done, after.next_at), (first.done, first.next_at));
                if after.answered_at != before.answered_at && waited < REFRESH_WAIT {
                    return;
                }
                if waited >= REFRESH_WAIT {
                    service.skip(1);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        service.finish().await;
    }

    async fn a_notification_ahead_of_wechats_own_answers_has_them_asked_again_within_a_minute(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["query_differs"]);
        let transaction = service.asked_about_hourly("K300001", "K3-a").await;
        let body = notice("K300001", "K3-a", &transaction, "SUCCESS", KEY, MCH_ID);
        // WeChat does not answer at first.
        service.faults(json!([{"on": "refundquery", "kind": "answer_lost", "times": 2}])).await;
        service.tell(body.clone(), &[]).await;
        service.until_refund("polled soon", "K3-a", |s| {
            s.refund.queries.next_at.unwrap().since(service.clock.now()).as_secs() <= 60
        })
        .await;
        service.until_parked("query_differs").await;
        assert!(service.next_in("K3-a").await <= 60, "{}", service.next_in("K3-a").await);
        service.ends("K3-a", "SUCCESS").await;
        service.skip(61);
        service.until_refunded("K3-a", "succeeded").await;
        service.finish().await;
    }

    async fn an_old_message_is_dropped_only_where_the_refund_has_a_later_poll(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("K400001").await;
        service.faults(json!([{"on": "refund", "kind": "refuse", "err_code": "NOTENOUGH"}])).await;
        service.give_back_in_vain("K400001", json!({"refund_no": "K4-a", "all": true})).await;
        let settings = bus_settings("embedded:", Vec::new(), 1 << 30);
        let (bus, _) = Bus::connect(&settings, Some(service.store.db().clone())).await.unwrap();
        // As a worker sees it whose clock is ahead.
        let say = async || {
            let merchant = MerchantKey::parse("main").unwrap();
            let due = RefundDue { refund_no: OutRefundNo::parse("K4-a").unwrap(), only_ask: false };
            let long_ago = wxpay_worker::clock::Timestamp::from_ms(service.clock.now().as_ms() - 100_000);
            let event = Envelope::new(&merchant, RefundDue::TYPE, None, long_ago, due);
            let payload = event.to_json().unwrap().into_bytes();
            let subject = subject::refund_due(&merchant);
            let message = Message { subject, id: event.id, payload, headers: Vec::new() };
            bus.publish(message).await.unwrap();
        };
        say().await;
        within_timeout("the message's end", async {
            while bus.lag().await.unwrap().iter().any(|l| l.pending > 0 || l.in_flight > 0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        assert_eq!(service.calls("K400001").await.len(), 1, "it is called for in a minute");
        let stored = service.refund("K4-a").await.refund;
        let now = service.clock.now();
        service.store.schedule_refund(stored.id, stored.version, stored.queries.done, now).await.unwrap();
        say().await;
        let after = service.until_refund("called again", "K4-a", |s| s.refund.queries.next_at.unwrap() > now).await;
        assert_eq!(after.refund.state, RefundState::Requested);
        assert_eq!(service.calls("K400001").await.len(), 2);
        service.finish().await;
    }
}
