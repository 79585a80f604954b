//! `?refresh=1`: WeChat is asked at once, and not more often than the merchant's budget says.

use serde_json::json;

use super::on_both;
use crate::harness::service::TestService;
use crate::harness::within_timeout;

const ORDERS: usize = 12;

on_both! {
    async fn refreshes_of_many_orders_at_once_keep_to_the_budget_and_each_order_gets_its_query(db: TestDb) {
        let service = TestService::new().on(db).merchant("queries_per_second = 2").in_process().await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        let order_nos: Vec<String> = (0..ORDERS).map(|n| format!("R{n:06}")).collect();
        for order_no in &order_nos {
            service.place(order_no).await;
            service.pay(order_no).await;
        }
        let asked = "SELECT COUNT(*) FROM evidence WHERE source = 'query'";
        let started = std::time::Instant::now();
        within_timeout("every order is paid", async {
            loop {
                let paths: Vec<String> = order_nos.iter().map(|no| format!("/v1/orders/{no}?refresh=1")).collect();
                let answers = futures_util::future::join_all(paths.iter().map(|path| service.get(path))).await;
                let most = 2 * (started.elapsed().as_secs() as i64 + 2);
                let questions = service.number(asked).await;
                assert!(questions <= most, "{questions} questions, {most} allowed");
                if answers.iter().all(|(_, order)| order["state"] == "paid") {
                    return;
                }
            }
        })
        .await;
        service.finish().await;
    }
}
