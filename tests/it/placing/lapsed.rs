//! Claims that end while their process stands still: it begins no call afterwards.

#![cfg(debug_assertions)]

use std::time::Duration;

use super::processes::LEASE;
use crate::flows::on_all_four;
use crate::harness::pausing::{is_stopped, signal};
use crate::harness::service::jsapi;
use crate::harness::within_timeout;

on_all_four! {
    async fn a_process_that_stood_still_until_its_claim_ended_leaves_the_order_to_others(service) {
        // Without jobs and relay: one that is stopped within a transaction would keep the lock of SQLite.
        let stopped = service.run_with("ingress,worker", &[("WXPAY_PAUSE_AT", "worker.order_claimed")]).await;
        let body = jsapi("A740001", 100);
        let asking = service.try_post(&stopped.base, "/v1/orders", &body);
        let others = async {
            within_timeout("the pause", async {
                while !is_stopped(&stopped) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            let other = service.run_beside("ingress,worker,relay,scheduler", LEASE).await;
            service.until_state(&other.base, "A740001", "payable").await;
            signal(&stopped, "-CONT");
            other
        };
        let (_, other) = tokio::join!(asking, others);
        within_timeout("the stopped process has seen that its claim ended", async {
            while !service.logs().contains("the claim on placing an order ended before its placing") {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        // Both have come to an end with it: their next orders are placed.
        for (process, order_no) in [(&stopped, "A740002"), (&other, "A740003")] {
            service.place(&process.base, order_no, 100).await;
        }
        let made = service.wechat_calls("unifiedorder", "A740001").await;
        assert_eq!(made.len(), 1, "{made:?}");
        service.finish().await;
    }
}
