//! Money back: whatever is lost, told twice, told wrongly or done by others, each refund happens once at WeChat, and the books
//! here say what WeChat's say.

mod api;
mod clocks;
mod console;
mod contradictions;
mod counted;
mod doubts;
mod flow;
mod looks;
mod lost;
mod notices;
mod open_calls;
#[cfg(feature = "crash-points")]
mod paused;
mod policies;
mod rows;
mod sums;
mod waits;

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::ids::{MerchantKey, OutRefundNo};
use wxpay_worker::refund::RefundState;
use wxpay_worker::store::StoredRefund;

use crate::harness::service::{API_KEY, MCH_ID, answer};
use crate::harness::soon;
use crate::harness::town::Town;

/// WeChat wants a minute between two refunds of an order.
const A_MINUTE: u64 = 61;

impl Town {
    /// An order of 100 fen that is paid.
    pub async fn paid(&self, order_no: &str) {
        self.place(order_no).await;
        self.pay(order_no).await;
        self.until_state(order_no, "paid").await;
    }

    /// Asks for a refund.
    pub async fn give_back(&self, order_no: &str, wish: Value) -> (u16, Value) {
        self.post(&format!("/v1/orders/{order_no}/refunds"), &wish).await
    }

    /// Asks for a refund that has an unknown outcome, and does not sit the caller's wait out.
    pub async fn give_back_unheard(&self, order_no: &str, wish: Value) {
        let path = format!("{}/v1/orders/{order_no}/refunds", self.base);
        let request = self.http.post(path).bearer_auth(API_KEY).header("content-type", "application/json");
        let (status, refund) = answer(request.header("prefer", "wait=0").body(wish.to_string())).await.unwrap();
        assert_eq!((status, refund["state"] == "requested" || refund["state"] == "unknown"), (202, true), "{refund}");
        let refund_no = wish["refund_no"].as_str().unwrap();
        self.until_refund("unknown", refund_no, |s| s.refund.state == RefundState::Unknown).await;
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
        let wish = json!({"refund_no": refund_no, "amount_fen": amount_fen});
        let (status, refund) = soon(&format!("{refund_no} at WeChat"), async {
            loop {
                // On a busy machine the first answer may be that it takes longer.
                match self.give_back(order_no, wish.clone()).await {
                    (202, refund) if refund["state"] == "requested" => {}
                    answered => return answered,
                }
            }
        })
        .await;
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

    /// What WeChat knows of an order's refunds.
    pub async fn wechat_refunds(&self, out_trade_no: &str) -> Vec<Value> {
        let url = format!("{}/_sandbox/ledger?mch_id={MCH_ID}&out_trade_no={out_trade_no}", self.wechat_url);
        let (_, ledger) = crate::harness::service::answer(self.http.get(url)).await.unwrap();
        ledger["refunds"].as_array().unwrap().clone()
    }

    /// How a refund ends at WeChat, now.
    pub async fn ends(&self, refund_no: &str, outcome: &str) {
        self.tell_wechat("refunds/outcome", json!({"out_refund_no": refund_no, "outcome": outcome})).await;
    }

    /// The refund calls WeChat saw about an order: when, by clock, and for which number.
    pub async fn calls(&self, out_trade_no: &str) -> Vec<Value> {
        let url = format!("{}/_sandbox/requests?mch_id={MCH_ID}&out_trade_no={out_trade_no}", self.wechat_url);
        let (_, seen) = crate::harness::service::answer(self.http.get(url)).await.unwrap();
        let refunds = seen["requests"].as_array().unwrap().iter().find(|r| r["api"] == "refund").cloned();
        refunds.map(|r| r["each"].as_array().unwrap().clone()).unwrap_or_default()
    }

    /// The refunds of an order at WeChat behave from now on.
    pub async fn no_faults(&self) {
        let cleared = self.http.delete(format!("{}/_sandbox/faults", self.wechat_url)).send().await.unwrap();
        assert!(cleared.status().is_success());
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

    /// Awaits that the refund was looked at: since `before`, it changed or is scheduled anew.
    pub async fn until_looked_at(&self, before: &StoredRefund) -> StoredRefund {
        let (version, done) = (before.refund.version, before.refund.queries.done);
        self.until_refund("looked at", before.refund.refund_no.as_str(), |s| {
            s.refund.version != version || s.refund.queries.done != done
        })
        .await
    }

    /// Nobody tells of refunds any more.
    pub async fn without_news(&self) {
        self.tell_wechat("faults", json!([{"on": "refund_notify", "kind": "drop"}])).await;
    }

    /// Moves the clock to when the refund is looked at next, and past the scheduler's next second.
    pub async fn to_next_look(&self, refund_no: &str) -> StoredRefund {
        let before = self.refund(refund_no).await;
        if let Some(at) = before.refund.queries.next_at {
            self.skip_to(at);
            self.skip(1);
        }
        before
    }

    /// Moves the clock from look to look until the refund is there.
    pub async fn look_until(&self, refund_no: &str, state: &str) -> StoredRefund {
        for _ in 0..20 {
            let before = self.to_next_look(refund_no).await;
            if before.refund.state.as_str() == state {
                return before;
            }
            let looked = self.until_refund("looked at", refund_no, |s| {
                s.refund.state.as_str() == state || s.refund.queries.done != before.refund.queries.done
            });
            let _ = tokio::time::timeout(Duration::from_secs(3), looked).await;
        }
        self.until_refunded(refund_no, state).await
    }

    /// Our books against WeChat's: what went back, to the fen, once; what is reserved; what the orders say.
    pub async fn books_agree(&self) {
        let url = format!("{}/_sandbox/ledger?mch_id={MCH_ID}", self.wechat_url);
        let (_, truth) = crate::harness::service::answer(self.http.get(url)).await.unwrap();
        let db = self.store.db();
        let sql = "SELECT refund_no || ' ' || refund_id || ' ' || amount_fen FROM refund_ledger ORDER BY refund_no";
        let mut ours = crate::faults::texts(db, sql).await;
        let done = truth["refunds"].as_array().unwrap().iter().filter(|r| r["status"] == "SUCCESS");
        let text = |r: &Value, name: &str| r[name].as_str().unwrap().to_owned();
        let mut theirs: Vec<String> = done
            .map(|r| format!("{} {} {}", text(r, "out_refund_no"), text(r, "refund_id"), r["refund_fee"]))
            .collect();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "our refund ledger and WeChat's");
        for (what, sql) in [
            (
                "orders whose refunded_fen is not their ledger's",
                "SELECT COUNT(*) FROM orders o WHERE o.refunded_fen <>
                   COALESCE((SELECT SUM(amount_fen) FROM refund_ledger l WHERE l.order_id = o.id), 0)",
            ),
            (
                "totals that are not their refunds'",
                "SELECT COUNT(*) FROM refund_totals t WHERE t.reserved_fen <> COALESCE((SELECT SUM(amount_fen) FROM refunds r
                   WHERE r.merchant = t.merchant AND r.transaction_id = t.transaction_id AND r.state <> 'failed'), 0)",
            ),
            (
                "totals that are not their ledger's",
                "SELECT COUNT(*) FROM refund_totals t WHERE t.refunded_fen <> COALESCE((SELECT SUM(amount_fen)
                   FROM refund_ledger l WHERE l.merchant = t.merchant AND l.transaction_id = t.transaction_id), 0)",
            ),
            (
                "refunds with a change that nothing proves",
                "SELECT COUNT(*) FROM refunds r WHERE r.version - 1 + CASE WHEN r.origin = 'console' THEN 1 ELSE 0 END
                   <> (SELECT COUNT(*) FROM refund_evidence e WHERE e.refund = r.id)",
            ),
            (
                "refunds told succeeded otherwise than once",
                "SELECT COUNT(*) FROM refunds r WHERE r.state = 'succeeded' AND 1 <> (SELECT COUNT(*) FROM outbox x
                   WHERE x.event_type = 'wxpay.refund.succeeded.v1' AND x.payload LIKE '%\"refund_no\":\"' || r.refund_no || '\"%')",
            ),
        ] {
            assert_eq!(self.number(sql).await, 0, "{what}");
        }
    }
}
