//! The process that took an order dies while it places it, and its caller does not come back.

#![cfg(debug_assertions)]

use serde_json::json;

use super::processes::LEASE;
use crate::flows::on_all_four;
use crate::harness::service::{Processes, jsapi};

/// One process dies at `site`; the one that starts afterwards places the order by its row alone.
async fn goes_on_by_its_row(service: Processes, site: &str, calls: usize) {
    let mut first = service.run_all_with(&[("WXPAY_CRASH_AT", site)]).await;
    let answer = service.try_post(&first.base, "/v1/orders", &jsapi("A730001", 100)).await;
    assert!(answer.is_err(), "it answered before it died");
    first.until_dead().await;
    let db = service.open_db().await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM orders WHERE placing_until_ms > 0").await, 1);
    // The first one's claim ends soon; the second one's own do not.
    let second = service.run_all_with(LEASE).await;
    service.until_state(&second.base, "A730001", "payable").await;
    let made = service.wechat_calls("unifiedorder", "A730001").await;
    assert_eq!(made.len(), calls, "{made:?}");
    // One order there, that can be paid.
    service.pay("A730001").await;
    service.until_state(&second.base, "A730001", "paid").await;
    assert_eq!(service.number(&db, "SELECT COUNT(*) FROM attempts").await, 1);
    // The caller, who comes back late, gets the same.
    let (status, order) = service.post(&second.base, "/v1/orders", &jsapi("A730001", 100)).await;
    assert_eq!((status, &order["state"]), (200, &json!("paid")), "{order}");
    service.finish().await;
}

on_all_four! {
    async fn a_claim_without_a_call_goes_on(service) {
        goes_on_by_its_row(service, "worker.order_claimed", 1).await;
    }

    async fn a_call_without_a_record_is_repeated_unchanged(service) {
        goes_on_by_its_row(service, "worker.order_answered", 2).await;
    }

    async fn a_record_without_an_answer_is_found(service) {
        goes_on_by_its_row(service, "worker.order_placed", 1).await;
    }
}
