//! The history of an order: one timeline with what was called, reported, decided, booked and done.

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use crate::harness::service::{InProcess, OPENID, TestService, answer};
use crate::settling::on_both;

impl InProcess {
    async fn history(&self, order_no: &str) -> Value {
        let (status, history) = self.get(&format!("/v1/orders/{order_no}/history")).await;
        assert_eq!(status, 200, "{history}");
        history
    }
}

fn entries<'a>(history: &'a Value, kind: &str) -> Vec<&'a Value> {
    history["entries"].as_array().unwrap().iter().filter(|entry| entry["kind"] == kind).collect()
}

/// Each entry in two words.
fn steps(history: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let step = |entry: &Value| {
        let more = match entry["kind"].as_str().unwrap() {
            "call" => format!("{} {}", text(&entry["api"]), text(&entry["outcome"])),
            "notification" => text(&entry["verdict"]),
            "decision" | "refund_decision" => format!("{} > {}", text(&entry["before"]), text(&entry["after"])),
            "ledger" => format!("{} {}", text(&entry["entry"]), text(&entry["to"])),
            "event" => text(&entry["type"]).trim_start_matches("wxpay.").trim_end_matches(".v1").to_owned(),
            _ => String::new(),
        };
        format!("{} {more}", text(&entry["kind"])).trim().to_owned()
    };
    history["entries"].as_array().unwrap().iter().map(step).collect()
}

/// In the history below: where the refund's end begins, whose rows have one time.
const FIRST_OF_THE_END: usize = 14;

on_both! {
    async fn a_payment_and_its_refund_are_shown_from_request_to_ledger(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place("T100001").await;
        service.skip(5);
        service.pay("T100001").await;
        service.until_state("T100001", "paid").await;
        service.skip(5);
        service.refunding("T100001", "T100001-r1", 30).await;
        service.pass(70).await;
        service.ends("T100001-r1", "SUCCESS").await;
        service.until_refunded("T100001-r1", "succeeded").await;
        service.until_number("the refund's calls", "SELECT COUNT(*) FROM calls", |n| n >= 2).await;
        let history = service.history("T100001").await;
        assert_eq!((&history["state"], &history["truncated"]), (&json!("paid"), &json!([])), "{history:#}");
        // WeChat's message and the poll that is due by then come at the same moment.
        let (polls, mut shown): (Vec<_>, Vec<_>) =
            steps(&history).into_iter().partition(|step| step == "call refundquery done");
        assert!(!polls.is_empty(), "{history:#}");
        for step in &mut shown[FIRST_OF_THE_END..] {
            // When the poll came first, the message repeats what is known.
            *step = step.replace("notification duplicate", "notification settled");
        }
        shown[FIRST_OF_THE_END..].sort();
        assert_eq!(shown, [
            "requested",
            "attempt",
            "call unifiedorder done",
            "decision requested > payable",
            "event order.payable",
            "notification settled",
            "decision payable > paid",
            "ledger payment credited",
            "event order.paid",
            "action",
            "refund",
            "call refund done",
            "refund_decision requested > processing",
            "event refund.requested",
            "event refund.succeeded",
            "notification settled",
            "refund_decision processing > succeeded",
            "refund_ledger",
        ], "{history:#}");
        let [notified, _] = entries(&history, "notification")[..] else { panic!("{history:#}") };
        let paid = entries(&history, "decision")[1];
        assert_eq!(paid["source_id"], notified["id"], "the decision names its notification: {history:#}");
        for entry in [notified, paid] {
            assert!(entry["verified_by"].as_str().unwrap().contains("key"), "{entry}");
        }
        assert_eq!((&paid["fact"], &paid["amount_fen"]), (&json!("paid"), &json!(100)), "{paid}");
        let took = entries(&history, "call")[0]["took_ms"].as_i64().unwrap();
        assert!((0..10_000).contains(&took), "{history:#}");
        let times: Vec<&str> =
            history["entries"].as_array().unwrap().iter().map(|entry| entry["at"].as_str().unwrap()).collect();
        assert!(times.is_sorted(), "{times:?}");
        let text = history.to_string();
        for secret in [OPENID, "prepay_id", "wx20", "<xml", "\"sign\""] {
            assert!(!text.contains(secret), "{secret} in {history:#}");
        }
        service.finish().await;
    }

    async fn calls_that_led_to_nothing_are_there_with_wechats_words(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.faults(json!([{"on": "unifiedorder", "kind": "system_error", "executed": false, "times": 2}])).await;
        service.place("T200001").await;
        let history = service.history("T200001").await;
        let calls = entries(&history, "call");
        let said: Vec<_> =
            calls.iter().map(|call| (call["outcome"].as_str().unwrap(), call["code"].as_str())).collect();
        let unknown = ("unknown", Some("SYSTEMERROR"));
        assert_eq!(said, [unknown, unknown, ("done", None)], "{history:#}");
        assert_eq!((&calls[0]["message"], &calls[0]["number"]), (&json!("系统错误"), &json!("T200001")), "{history:#}");
        // A query that finds it unpaid changes nothing, and one without an answer tells nothing.
        service.refreshed_again("T200001").await;
        service.faults(json!([{"on": "orderquery", "kind": "raw", "body": "busy", "times": 1}])).await;
        service.pass(40).await;
        let unknown = "SELECT COUNT(*) FROM calls WHERE api = 'orderquery' AND outcome = 'unknown'";
        service.until_number("the query of the schedule", unknown, |n| n > 0).await;
        service.clear_faults().await;
        let history = service.history("T200001").await;
        let calls = entries(&history, "call");
        let queries: Vec<_> = calls.into_iter().filter(|call| call["api"] == "orderquery").collect();
        let mut said: Vec<_> =
            queries.iter().map(|call| (call["outcome"].as_str().unwrap(), call["code"].as_str().unwrap())).collect();
        // On a busy machine the refresh may have asked more than once.
        said.dedup();
        assert_eq!(said[..2], [("done", "NOTPAY"), ("unknown", "HTTP")], "{history:#}");
        let unknown = queries.iter().find(|call| call["outcome"] == "unknown").unwrap();
        assert_eq!(unknown["message"], json!("busy"), "{history:#}");
        service.finish().await;
    }

    async fn an_operators_action_is_there_with_its_reason(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("T300001").await;
        let how = json!({"out_trade_no": "T300001", "paid_at": "2025-01-02T03:04:05Z"});
        let payment = service.wechat_control("pay", how).await;
        service.until_number("two versions", "SELECT version FROM orders", |n| n > 2).await;
        service.skip(2);
        service.until_number("held", "SELECT COUNT(*) FROM payments WHERE class = 'held'", |n| n == 1).await;
        let body = json!({"transaction_id": payment["transaction_id"], "reason": "delivered all the same"});
        let (status, order) = service.post("/v1/orders/T300001/accept", &body).await;
        assert_eq!((status, &order["credited"]), (200, &json!(true)), "{order}");
        let history = service.history("T300001").await;
        let [action] = entries(&history, "action")[..] else { panic!("{history:#}") };
        assert_eq!((&action["actor"], &action["action"], &action["result"], &action["reason"]), (
            &json!("test"), &json!("payment.accept"), &json!("done"), &json!("delivered all the same"),
        ), "{history:#}");
        let booked: Vec<_> = entries(&history, "ledger").iter().map(|row| (&row["from"], &row["to"])).collect();
        let (held, credited) = (json!("held"), json!("credited"));
        assert_eq!(booked, [(&Value::Null, &held), (&held, &credited)], "{history:#}");
        service.finish().await;
    }

    async fn a_flood_of_one_kind_displaces_no_other(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.paid("T400001").await;
        let order_id = service.stored("T400001").await.order.id;
        // Older than the true one, and young enough for retention, whose first run may come at any moment.
        let before = service.clock.now().as_ms() - 1_000_000;
        let sql = format!(
            "INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms,
                                        processed_at_ms, verdict, order_id)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             SELECT 'copy' || i, 'main', 'pay', '', '[]', '', {before} + i, {before} + i, 'duplicate',
                    {order_id} FROM n"
        );
        service.store.db().execute("test", sql, []).await.unwrap();
        let history = service.history("T400001").await;
        assert_eq!(history["truncated"], json!(["notifications"]));
        assert_eq!(entries(&history, "notification").len(), 200);
        assert_eq!((entries(&history, "decision").len(), entries(&history, "ledger").len()), (2, 1));
        let settled = entries(&history, "notification").iter().filter(|n| n["verdict"] == "settled").count();
        assert_eq!(settled, 1, "the newest stay");
        service.finish().await;
    }

    async fn only_operators_read_it(db: TestDb) {
        let hash = sha256_hex(b"wxk_orders_only");
        let key = format!("[[api_keys]]\nname = \"o\"\nhash = \"sha256:{hash}\"\nscopes = [\"orders\"]\n");
        let service = TestService::new().on(db).config(&key).in_process().await;
        service.place("T500001").await;
        let path = format!("{}/v1/orders/T500001/history", service.base);
        let (status, problem) = answer(service.http.get(&path).bearer_auth("wxk_orders_only")).await.unwrap();
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
        assert_eq!(service.get("/v1/orders/T500002/history").await.0, 404);
        assert_eq!(service.get("/v1/orders/T500001/history?all=1").await.0, 400);
        service.finish().await;
    }
}
