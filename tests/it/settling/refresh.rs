//! `?refresh=1`: WeChat is asked at once, and not more often than the merchant's budget says.

use serde_json::json;

use super::on_both;
use crate::harness::service::{OPENID, TestService};
use crate::harness::within_timeout;

const ORDERS: usize = 12;

on_both! {
    /// The fact comes with the call that brought it, which the decision on the order must not lose.
    async fn a_query_that_reports_another_orders_transaction_pays_nothing_and_marks_the_order(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.leave_books_open("one payment is reported of two orders");
        service.expect_dead_letters(&["transaction_elsewhere"]);
        for order_no in ["E100001", "E100002"] {
            service.place(order_no).await;
        }
        service.pay("E100001").await;
        let paid = service.until_state("E100001", "paid").await;
        let first = paid.order.paid_by.unwrap();
        let set = json!({
            "trade_state": "SUCCESS", "transaction_id": first.transaction_id.as_str(),
            "total_fee": "100", "cash_fee": "100",
            "fee_type": "CNY", "time_end": first.paid_at.to_beijing(), "bank_type": "OTHERS", "is_subscribe": "N",
            "openid": OPENID,
        });
        service.faults(json!([{"on": "orderquery", "kind": "rewrite", "set": set, "times": 1}])).await;
        service.get("/v1/orders/E100002?refresh=1").await;
        let marked = service.until("the mark", "E100002", |s| s.order.flags.amount_mismatch).await;
        assert_eq!(marked.order.state.as_str(), "payable");
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 1);
        let kept = "SELECT COUNT(*) FROM calls WHERE api = 'orderquery' AND number = 'E100002'";
        let taken = "SELECT COUNT(*) FROM evidence
                     WHERE out_trade_no = 'E100002' AND took_ms IS NOT NULL AND version > 2";
        assert_eq!(service.number(kept).await + service.number(taken).await, 1, "the call is in the history");
        service.finish().await;
    }

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
                let questions = service.number(asked).await;
                // Behind the count: while a busy machine makes it, more may be asked.
                let most = 2 * (started.elapsed().as_secs() as i64 + 2);
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
