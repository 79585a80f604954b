//! Money back: whatever is lost, reported twice or wrongly, or done by others, each refund happens once at WeChat, and
//! the books here say what WeChat's say.

mod all;
mod api;
mod calls;
mod clocks;
mod counted;
mod elsewhere;
mod flow;
mod lost;
mod of_no_order;
mod policies;
mod reports;
mod rows;
mod schedule;
mod sums;
mod waits;
mod wrong_setup;

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::ids::{MerchantKey, OutRefundNo};
use wxpay_worker::refund::{RefundState, UNCALLED};
use wxpay_worker::store::StoredRefund;

use crate::harness::service::InProcess;
use crate::harness::within_timeout;

/// WeChat wants a minute between two refunds of an order.
const A_MINUTE: u64 = 61;

impl InProcess {
    /// An order of 100 fen that is paid.
    pub async fn paid(&self, order_no: &str) {
        self.place(order_no).await;
        self.pay(order_no).await;
        self.until_state(order_no, "paid").await;
    }

    /// Asks for a refund. On a busy machine the caller's wait may be over before the call: the same request waits on.
    pub async fn give_back(&self, order_no: &str, body: Value) -> (u16, Value) {
        let path = format!("/v1/orders/{order_no}/refunds");
        within_timeout("an answer about the refund's call", async {
            loop {
                let (status, refund) = self.post(&path, &body).await;
                let is_open = status == 202 && refund["state"] == "requested" && refund["wechat"].is_null();
                if !is_open || !self.is_behind(&refund).await {
                    return (status, refund);
                }
            }
        })
        .await
    }

    /// Whether more is known of a refund than was answered, or its first call is still to come.
    async fn is_behind(&self, answered: &Value) -> bool {
        // Before the row: what leaves the queue is written there.
        let is_idle = self.is_idle().await;
        let merchant = MerchantKey::parse("main").unwrap();
        let refund_no = OutRefundNo::parse(answered["refund_no"].as_str().unwrap()).unwrap();
        let Some(stored) = self.store.refund(&merchant, &refund_no).await.unwrap() else { return false };
        let refund = &stored.refund;
        let is_as_answered = refund.state == RefundState::Requested && refund.error.is_none();
        let is_untouched = refund.queries.next_at == Some(refund.created_at.after(UNCALLED));
        !is_as_answered || is_untouched && !is_idle
    }

    /// Asks for a refund that has an unknown outcome, and does not sit the caller's wait out.
    pub async fn give_back_unheard(&self, order_no: &str, body: Value) {
        let (status, refund) = self.give_back_at_once(order_no, &body).await;
        assert_eq!((status, refund["state"] == "requested" || refund["state"] == "unknown"), (202, true), "{refund}");
        let refund_no = body["refund_no"].as_str().unwrap();
        self.until_refund("unknown", refund_no, |s| s.refund.state == RefundState::Unknown).await;
    }

    /// Asks for a refund without waiting for it.
    pub async fn give_back_at_once(&self, order_no: &str, body: &Value) -> (u16, Value) {
        loop {
            let answer = self.post_waiting(&format!("/v1/orders/{order_no}/refunds"), body, 0).await;
            // A busy machine may not take one in time: the same request may be repeated.
            if answer.0 != 503 || answer.1["retryable"] != json!(true) {
                return answer;
            }
        }
    }

    /// Asks for a refund that WeChat does not take on; gives it as it is after the call.
    pub async fn give_back_in_vain(&self, order_no: &str, body: Value) -> Value {
        let (status, refund) = self.give_back_at_once(order_no, &body).await;
        assert_eq!(status, 202, "{refund}");
        let refund_no = body["refund_no"].as_str().unwrap();
        self.until_refund("called for", refund_no, |s| {
            s.refund.error.is_some() || s.refund.state == RefundState::Unknown
        })
        .await;
        self.until_calls_are_over().await;
        self.until_idle().await;
        self.get(&format!("/v1/refunds/{refund_no}")).await.1
    }

    /// Awaits that no call for a refund is under way any more, and with it what the worker writes after an answer.
    pub async fn until_calls_are_over(&self) {
        let open = "SELECT COUNT(*) FROM refunds WHERE call_open_until_ms IS NOT NULL";
        self.until_number("the end of every call", open, |n| n == 0).await;
    }

    /// Moves the clock to where WeChat takes the next refund of the same order; the minute counts from its last answer.
    pub async fn a_minute_later(&self) {
        self.until_calls_are_over().await;
        self.skip(A_MINUTE);
    }

    /// Asks for a refund that WeChat takes on at once.
    pub async fn refunding(&self, order_no: &str, refund_no: &str, amount_fen: i64) -> Value {
        let body = json!({"refund_no": refund_no, "amount_fen": amount_fen});
        // On a busy machine the first answer may be that it takes longer.
        let ask = || async {
            let answered = self.give_back(order_no, body.clone()).await;
            Some(answered).filter(|(status, refund)| *status != 202 || refund["state"] != "requested")
        };
        let (status, refund) = self.found(&format!("{refund_no} at WeChat"), ask).await;
        assert_eq!((status, &refund["state"]), (200, &json!("processing")), "{refund}");
        refund
    }

    pub async fn refund(&self, refund_no: &str) -> StoredRefund {
        let merchant = MerchantKey::parse("main").unwrap();
        self.store.refund(&merchant, &OutRefundNo::parse(refund_no).unwrap()).await.unwrap().unwrap()
    }

    /// Awaits what the stored refund shall be.
    pub async fn until_refund(&self, what: &str, refund_no: &str, is: impl Fn(&StoredRefund) -> bool) -> StoredRefund {
        let (is, what) = (&is, format!("{refund_no} {what}"));
        self.found(&what, || async move { Some(self.refund(refund_no).await).filter(|stored| is(stored)) }).await
    }

    pub async fn until_refunded(&self, refund_no: &str, state: &str) -> StoredRefund {
        self.until_refund(state, refund_no, |s| s.refund.state.as_str() == state).await
    }

    /// How a refund ends at WeChat, now.
    pub async fn ends(&self, refund_no: &str, outcome: &str) {
        self.wechat_control("refunds/outcome", json!({"out_refund_no": refund_no, "outcome": outcome})).await;
    }

    /// The refund calls WeChat saw about an order: when, by clock, and for which number.
    pub async fn calls(&self, out_trade_no: &str) -> Vec<Value> {
        self.wechat_calls("refund", out_trade_no).await
    }

    /// Lets seconds pass, each long enough for what happens every second, until the stored refund is so.
    pub async fn seconds_until(&self, refund_no: &str, is: impl Fn(&StoredRefund) -> bool) -> StoredRefund {
        for _ in 0..200 {
            let stored = self.refund(refund_no).await;
            if is(&stored) {
                return stored;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.skip(1);
        }
        panic!("{:?}", self.refund(refund_no).await);
    }

    /// Awaits that the refund was polled: since `before`, it changed or is scheduled anew.
    pub async fn until_polled(&self, before: &StoredRefund) -> StoredRefund {
        let (version, done) = (before.refund.version, before.refund.queries.done);
        self.until_refund("polled", before.refund.refund_no.as_str(), |s| {
            s.refund.version != version || s.refund.queries.done != done
        })
        .await
    }

    /// No notification of a refund arrives any more.
    pub async fn without_news(&self) {
        self.faults(json!([{"on": "refund_notify", "kind": "drop"}])).await;
    }

    /// Moves the clock to when the refund is polled next, and past the scheduler's next second.
    pub async fn to_next_poll(&self, refund_no: &str) -> StoredRefund {
        let before = self.refund(refund_no).await;
        if let Some(at) = before.refund.queries.next_at {
            self.skip_to(at);
            self.skip(1);
        }
        before
    }

    /// Moves the clock from poll to poll until ten minutes lie before the next one.
    pub async fn until_pauses_have_grown(&self, refund_no: &str) -> StoredRefund {
        for _ in 0..30 {
            let before = self.to_next_poll(refund_no).await;
            // What changes the refund first may be its call, before the poll has set the next one.
            let after = self.until_polled(&before).await;
            if after.refund.queries.next_at.is_some_and(|at| at.since(self.clock.now()).as_secs() > 600) {
                return after;
            }
        }
        panic!("{:?}", self.refund(refund_no).await);
    }

    /// Moves the clock from poll to poll until the refund is there.
    pub async fn poll_until(&self, refund_no: &str, state: &str) -> StoredRefund {
        for _ in 0..20 {
            let before = self.to_next_poll(refund_no).await;
            if before.refund.state.as_str() == state {
                return before;
            }
            let polled = self.until_refund("polled", refund_no, |s| {
                s.refund.state.as_str() == state || s.refund.queries.done != before.refund.queries.done
            });
            let _ = tokio::time::timeout(Duration::from_secs(3), polled).await;
        }
        self.until_refunded(refund_no, state).await
    }
}
