//! `?refresh=1`: WeChat is asked at once, and not more often than the merchant's budget says.

use serde_json::json;

use super::on_both;
use crate::harness::soon;
use crate::harness::town::Town;

const ORDERS: usize = 12;

on_both! {
    async fn refreshes_of_many_orders_at_once_keep_to_the_budget_and_each_order_gets_its_turn(db: TestDb) {
        let town = Town::start(db, "queries_per_second = 2", "").await;
        town.tell_wechat("faults", json!([{"on": "notify", "kind": "drop"}])).await;
        let order_nos: Vec<String> = (0..ORDERS).map(|n| format!("R{n:06}")).collect();
        for order_no in &order_nos {
            town.place(order_no).await;
            town.pay(order_no).await;
        }
        let asked = "SELECT COUNT(*) FROM evidence WHERE source = 'query'";
        let started = std::time::Instant::now();
        soon("every order is paid", async {
            loop {
                let paths: Vec<String> = order_nos.iter().map(|no| format!("/v1/orders/{no}?refresh=1")).collect();
                let answers = futures_util::future::join_all(paths.iter().map(|path| town.get(path))).await;
                let most = 2 * (started.elapsed().as_secs() as i64 + 2);
                let questions = town.number(asked).await;
                assert!(questions <= most, "{questions} questions, {most} allowed");
                if answers.iter().all(|(_, order)| order["state"] == "paid") {
                    return;
                }
            }
        })
        .await;
        town.stop().await;
    }
}
