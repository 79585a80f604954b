//! Many at once: the sum never exceeds what was paid, at WeChat and here. Small: sixty. Long: two hundred.

use std::collections::BTreeMap;

use serde_json::json;

use crate::harness::service::TestService;
use crate::harness::size;
use crate::settling::on_both;

/// Seven parts of 13 fen fit into 100.
const PART: i64 = 13;

on_both! {
    async fn many_partial_refunds_at_once_never_exceed_the_payment(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("S100001").await;
        let at_once = size(60, 200);
        let body = |n: usize| json!({"refund_no": format!("part-{n:03}"), "amount_fen": PART});
        let bodies: Vec<_> = (0..at_once).map(body).collect();
        let asking = bodies.iter().map(|body| service.give_back_at_once("S100001", body));
        let answers = futures_util::future::join_all(asking).await;
        service.until_idle().await;
        let mut taken = Vec::new();
        let mut by_status: BTreeMap<u16, usize> = BTreeMap::new();
        for (n, (status, answer)) in answers.iter().enumerate() {
            *by_status.entry(*status).or_default() += 1;
            match status {
                200 | 202 => taken.push(format!("part-{n:03}")),
                409 => assert_eq!(answer["code"], "refund_exceeds", "{answer}"),
                other => panic!("{other} {answer}"),
            }
        }
        assert_eq!((taken.len(), by_status[&409]), (7, at_once - 7), "{by_status:?}");
        let reserved = "SELECT reserved_fen FROM refund_totals";
        assert_eq!(service.number(reserved).await, 7 * PART);
        // One a minute reaches WeChat; none is refused there.
        for _ in 0..30 {
            let open = "SELECT COUNT(*) FROM refunds WHERE state IN ('requested', 'unknown')";
            if service.number(open).await == 0 {
                break;
            }
            let before = service.wechat_refunds("S100001").await.len();
            service.a_minute_later().await;
            let more = async {
                while service.wechat_refunds("S100001").await.len() == before {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            };
            // Whose message was overtaken by the clock comes again a minute later.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(5), more).await;
        }
        for number in &taken {
            service.until_refunded(number, "processing").await;
            service.ends(number, "SUCCESS").await;
        }
        let theirs = service.wechat_refunds("S100001").await;
        let sum: i64 = theirs.iter().map(|r| r["refund_fee"].as_i64().unwrap()).sum();
        assert_eq!((theirs.len(), sum), (7, 7 * PART));
        let times: Vec<_> =
            service.calls("S100001").await.iter().map(|c| c["at"].as_str().unwrap().to_owned()).collect();
        assert_eq!(times.len(), 7, "no call was in vain");
        for number in &taken {
            service.poll_until(number, "succeeded").await;
        }
        assert_eq!(service.get("/v1/orders/S100001").await.1["refunded_fen"], json!(7 * PART));
        service.finish().await;
    }

    async fn all_that_is_left_goes_to_one_of_those_who_want_it(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("S200001").await;
        let body = |n: usize| json!({"refund_no": format!("rest-{n:03}"), "all": true});
        let answers = futures_util::future::join_all((0..50).map(|n| service.give_back("S200001", body(n)))).await;
        let taken: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
        assert_eq!(taken.len(), 1, "{answers:?}");
        assert_eq!(taken[0].1["amount_fen"], json!(100));
        assert_eq!(service.wechat_refunds("S200001").await.len(), 1);
        service.finish().await;
    }

    async fn refunds_of_different_orders_do_not_wait_for_each_other(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        for n in 0..10 {
            service.paid(&format!("S30000{n}")).await;
        }
        let orders: Vec<String> = (0..10).map(|n| format!("S30000{n}")).collect();
        let refunds = orders.iter().map(|order_no| service.give_back(order_no, json!({"all": true})));
        let answers = futures_util::future::join_all(refunds).await;
        assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
        service.finish().await;
    }
}
