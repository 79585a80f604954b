//! This version takes over what an earlier one left: the same request is the same order or refund, every payment is
//! settled once, sessions, tokens and cursors stay valid.

mod browser;
mod fixture;
mod installation;
mod notes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::db::TestDb;
use crate::harness::within_timeout;
use fixture::Fixture;
use installation::Installation;

#[tokio::test]
async fn an_embedded_installation_goes_on() {
    goes_on(Fixture::embedded().await).await;
}

#[tokio::test]
async fn an_installation_on_nats_and_postgres_goes_on() {
    goes_on(Fixture::nats().await).await;
}

/// Orders that are open once every message of the fixture is handled, with the number of attempts they have then.
const PAYABLE: &[(&str, &str, usize)] = &[
    ("U-SWITCHED", "main", 2),
    ("U-SWITCHING", "main", 2),
    ("U-SWITCH-QUEUED", "main", 2),
    ("U-OPEN-1", "main", 1),
    ("U-OPEN-4", "main", 1),
    ("U-UNKNOWN-1", "main", 1),
    ("U-UNKNOWN-2", "main", 1),
    ("U-STALE", "main", 1),
    ("U-HUNG", "main", 1),
    ("U-RECORDED", "main", 1),
    ("U-QUEUED-1", "main", 1),
    ("U-QUEUED-2", "main", 1),
];

/// Orders that have ended by then, with their flags.
const ENDED: &[(&str, &str, &str, &[&str])] = &[
    ("U-CLOSED", "main", "closed", &[]),
    ("U-CLOSING", "main", "closed", &[]),
    ("U-OPEN-3", "main", "closed", &[]),
    ("U-FAILED", "main", "failed", &[]),
    ("U-OPEN-2", "main", "paid", &[]),
    ("U-LOST-1", "main", "paid", &[]),
    ("U-LOST-2", "main", "paid", &[]),
    ("U-MISMATCH", "main", "paid", &["amount_mismatch"]),
    ("U-PAID-LATE", "main", "paid", &["paid_late"]),
    ("U-TWICE", "main", "paid", &["paid_twice"]),
    ("U-OPEN-MD5", "second", "paid", &[]),
    ("U-SENT-BACK", "second", "paid", &["paid_twice"]),
];

/// Refunds and how they end.
const REFUNDS: &[(&str, &str)] = &[
    ("R-SUCCEEDED", "succeeded"),
    ("R-ABNORMAL", "abnormal"),
    ("R-FAILED", "failed"),
    ("R-REFUSED", "failed"),
    ("R-PROCESSING", "succeeded"),
    ("R-NOTICE", "succeeded"),
    ("R-ASKED", "succeeded"),
    ("R-UNKNOWN", "succeeded"),
    ("R-DELAYED", "succeeded"),
    ("R-HUNG", "succeeded"),
    ("R-QUEUED", "succeeded"),
];

/// What only one process at a time does, all the time.
const LEASES: &[&str] = &["relay", "pending_queries", "pending_refunds", "orphans", "deferred_messages"];

async fn goes_on(fixture: Fixture) {
    let installed = Installation::open(fixture).await;
    // Read before anything is settled: nothing of it may be lost.
    let parked: BTreeSet<(String, String)> =
        installed.rows("SELECT event_id, consumer FROM dead_letters").await.into_iter().collect();
    assert!(parked.len() >= 3, "{parked:?}");
    browser::sessions_and_tokens_are_good(&installed).await;
    the_same_requests_are_the_same_orders_and_refunds(&installed).await;
    // Its notification was lost, and WeChat repeats it.
    let second = &installed.order("U-SENT-BACK", "second").await["attempts"][1]["out_trade_no"];
    installed.notify_again(second.as_str().unwrap(), "second").await;
    installed.pass_until("the end of what was begun", async || unsettled(&installed).await).await;
    the_same_requests_are_the_same_orders_and_refunds(&installed).await;
    for (order_no, merchant, attempts) in PAYABLE {
        let order = installed.order(order_no, merchant).await;
        let attempts_now = order["attempts"].as_array().unwrap();
        assert_eq!(attempts_now.len(), *attempts, "{order}");
        installed.pay(attempts_now[attempts - 1]["out_trade_no"].as_str().unwrap(), merchant).await;
    }
    refunds_end_at_wechat(&installed).await;
    installed.pass_until("the end of everything", async || unfinished(&installed).await).await;
    everything_is_settled_once(&installed).await;
    what_wechat_has_is_not_submitted_again(&installed).await;
    parked_messages_are_kept(&installed, &parked).await;
    the_feed_goes_on_behind_the_cursor(&installed).await;
    leases_are_taken_over(&installed).await;
    the_file_is_sound(&installed).await;
    installed.stop().await;
}

/// The first order that is not yet as it has to become, or else what is left to do.
async fn unsettled(installed: &Installation) -> Option<String> {
    for (order_no, merchant, attempts) in PAYABLE {
        let order = installed.order(order_no, merchant).await;
        let is_open = order["state"] == "payable" && order["pending"].is_null() && order["flags"] == json!([]);
        if !is_open || order["attempts"].as_array().unwrap().len() != *attempts {
            return Some(format!("{order_no} is not payable by attempt {attempts}: {order}"));
        }
    }
    for (order_no, merchant, state, flags) in ENDED {
        let order = installed.order(order_no, merchant).await;
        if order["state"] != *state || order["flags"] != json!(flags) {
            return Some(format!("{order_no} is not {state} {flags:?}: {order}"));
        }
    }
    installed.undone().await
}

/// The first order or refund that has not ended as it has to, or else what is left to do.
async fn unfinished(installed: &Installation) -> Option<String> {
    for (order_no, merchant, _) in PAYABLE {
        let order = installed.order(order_no, merchant).await;
        if order["state"] != "paid" {
            return Some(format!("{order_no} is not paid: {order}"));
        }
    }
    for (refund_no, state) in REFUNDS {
        let refund = installed.refund(refund_no).await;
        if refund["state"] != *state {
            return Some(format!("{refund_no} is not {state}: {refund}"));
        }
    }
    installed.undone().await
}

/// An order's numbers and token, and what else never changes.
fn identity(order: &Value) -> Value {
    let of = |name: &str| order[name].clone();
    json!([
        of("order_no"),
        of("merchant"),
        of("created_at"),
        of("order_token"),
        of("amount_fen"),
        of("metadata"),
        of("attach")
    ])
}

async fn the_same_requests_are_the_same_orders_and_refunds(installed: &Installation) {
    let before = installed.number("SELECT COUNT(*) FROM orders").await;
    let refunds_before = installed.number("SELECT COUNT(*) FROM refunds").await;
    for request in installed.fixture.manifest["requests"].as_array().unwrap() {
        let (path, body, key) = (request["path"].as_str().unwrap(), &request["body"], request["key"].as_str());
        let (status, answer) = installed.call(Method::POST, path, key, body).await;
        if request["what"] == "refund" {
            same_refund(installed, request, status, &answer).await;
            continue;
        }
        let order_no = body["order_no"].as_str().unwrap();
        let expected = if order_no == "U-FAILED" { status == 422 } else { [200, 202].contains(&status) };
        assert!(expected, "{order_no}: {status} {answer}");
        let order = installed.order(order_no, body["merchant"].as_str().unwrap()).await;
        let old = &installed.fixture.manifest["orders"][order_no];
        assert_eq!(identity(&order), identity(old), "{order_no}");
        let numbers = |order: &Value| -> Vec<Value> {
            order["attempts"].as_array().unwrap().iter().map(|a| a["out_trade_no"].clone()).collect()
        };
        assert!(numbers(&order).starts_with(&numbers(old)), "{order}\n{old}");
        let Some(key) = key else { continue };
        let mut other_body = body.clone();
        other_body["amount_fen"] = json!(101);
        let (status, problem) = installed.call(Method::POST, path, Some(key), &other_body).await;
        assert_eq!((status, &problem["code"]), (422, &json!("key_reused")), "{problem}");
    }
    assert_eq!(installed.number("SELECT COUNT(*) FROM orders").await, before, "a repeat made an order");
    assert_eq!(installed.number("SELECT COUNT(*) FROM refunds").await, refunds_before, "a repeat made a refund");
    let order = &installed.fixture.manifest["orders"]["U-OPEN-1"];
    let stream = format!("{}/v1/orders/U-OPEN-1/stream?merchant=main", installed.base);
    let with = |token: &str| installed.http.get(&stream).bearer_auth(token).send();
    assert_eq!(with(order["order_token"].as_str().unwrap()).await.unwrap().status(), 200);
    assert_eq!(with("another").await.unwrap().status(), 401);
}

async fn same_refund(installed: &Installation, request: &Value, status: u16, answer: &Value) {
    if ["R-FAILED", "R-REFUSED"].map(Value::from).contains(&request["body"]["refund_no"]) {
        assert_eq!((status, &answer["code"]), (422, &json!("refund_failed")), "{answer}");
        return;
    }
    assert!([200, 202].contains(&status), "{request}: {status} {answer}");
    let old = &request["answer"];
    let expected = if old.is_null() { &request["body"]["refund_no"] } else { &old["refund_no"] };
    assert_eq!(&answer["refund_no"], expected, "{answer}");
    if let Some(old_id) = old["refund_id"].as_str() {
        assert_eq!(installed.refund(expected.as_str().unwrap()).await["refund_id"], old_id);
    }
}

/// Every refund that WeChat processes succeeds.
async fn refunds_end_at_wechat(installed: &Installation) {
    let truth = installed.truth().await;
    for refund in truth["refunds"].as_array().unwrap() {
        if refund["status"] == "PROCESSING" {
            let number = &refund["out_refund_no"];
            let body = json!({"mch_id": refund["mch_id"], "out_refund_no": number, "outcome": "SUCCESS"});
            installed.wechat_control("refunds/outcome", body).await;
        }
    }
}

async fn everything_is_settled_once(installed: &Installation) {
    let truth = installed.truth().await;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let payments = truth["payments"].as_array().unwrap().iter();
    let ordered = payments.filter(|p| !p["out_trade_no"].as_str().unwrap().starts_with("U-ORPHAN"));
    let mut theirs: Vec<String> = ordered.map(|p| text(p, "transaction_id")).collect();
    let mut ours: Vec<String> =
        column(installed, "SELECT transaction_id FROM ledger WHERE entry = 'payment' AND order_id IS NOT NULL").await;
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs, "our ledger and WeChat's");
    // Every payment has its class, those that the version before entered among them.
    let without = "SELECT COUNT(*) FROM ledger AS l WHERE NOT EXISTS (SELECT 1 FROM payments AS p
                   WHERE p.merchant = l.merchant AND p.transaction_id = l.transaction_id)";
    assert_eq!(installed.number(without).await, 0);
    for (order_no, classes) in [
        ("U-PAID-LATE", vec!["held late"]),
        ("U-TWICE", vec!["credited -", "held twice"]),
        ("U-SENT-BACK", vec!["credited -", "returned late"]),
        ("U-MISMATCH", vec!["credited -"]),
    ] {
        let sql = format!(
            "SELECT class || ' ' || COALESCE(reason, '-') FROM payments WHERE order_no = '{order_no}' ORDER BY class"
        );
        assert_eq!(column(installed, &sql).await, classes, "{order_no}");
    }
    let refunds = truth["refunds"].as_array().unwrap().iter().filter(|r| r["status"] == "SUCCESS");
    let mut theirs: Vec<String> = refunds.map(|r| text(r, "out_refund_no") + " " + &text(r, "refund_id")).collect();
    let mut ours = column(installed, "SELECT refund_no || ' ' || refund_id FROM refund_ledger").await;
    theirs.sort();
    ours.sort();
    assert_eq!(ours, theirs, "our refund ledger and WeChat's");
    // A late payment is held or refunded; there is no order.paid of it.
    let paid = "SELECT order_no FROM outbox WHERE event_type = 'wxpay.order.paid.v1'";
    let mut announced: BTreeMap<String, usize> = BTreeMap::new();
    for order_no in column(installed, paid).await {
        *announced.entry(order_no).or_default() += 1;
    }
    for order_no in column(installed, "SELECT order_no FROM orders WHERE state = 'paid' AND NOT paid_late").await {
        assert_eq!(announced.remove(&order_no), Some(1), "order.paid of {order_no}");
    }
    assert!(announced.is_empty(), "{announced:?}");
    let sent_back = installed.order("U-SENT-BACK", "second").await;
    let refunds = sent_back["refunds"].as_array().unwrap();
    let old = &installed.fixture.manifest["orders"]["U-SENT-BACK"]["refunds"][0]["refund_no"];
    assert_eq!((refunds.len(), &refunds[0]["refund_no"]), (1, old), "what was sent back stays sent back, once");
    let orphaned = "SELECT COUNT(*) FROM outbox WHERE event_type = 'wxpay.payment.orphaned.v1'";
    assert_eq!(installed.number(orphaned).await, 2);
    // Those that the version before reported have their rows, too.
    within_timeout("the payments of no order", async {
        while installed.number("SELECT COUNT(*) FROM payments WHERE class = 'unmatched'").await < 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Their open messages only query, or come from WeChat.
async fn what_wechat_has_is_not_submitted_again(installed: &Installation) {
    for number in ["U-OF-R-PROCESSING", "U-OF-R-NOTICE", "U-OF-R-ASKED"] {
        assert_eq!(installed.calls("refund", number).await, 0, "{number}");
        assert!(installed.calls("refundquery", number).await > 0, "{number}");
    }
    assert_eq!(installed.calls("unifiedorder", "U-OPEN-1").await, 0);
    assert!(installed.calls("orderquery", "U-OPEN-1").await > 0);
}

async fn column(installed: &Installation, sql: &str) -> Vec<String> {
    installed.rows::<(String,)>(sql).await.into_iter().map(|(text,)| text).collect()
}

async fn parked_messages_are_kept(installed: &Installation, before: &BTreeSet<(String, String)>) {
    let listed = installed.rows("SELECT event_id, consumer FROM dead_letters WHERE state = 'parked'").await;
    let listed: BTreeSet<(String, String)> = listed.into_iter().collect();
    assert!(listed.is_superset(before), "{listed:?}\n{before:?}");
    let mut reasons = column(installed, "SELECT reason FROM dead_letters").await;
    reasons.sort();
    assert_eq!(reasons, ["amount_differs", "number_taken", "unknown_order", "unknown_order"]);
}

async fn the_feed_goes_on_behind_the_cursor(installed: &Installation) {
    let feed = &installed.fixture.manifest["feed"];
    let mut read: Vec<String> =
        feed["read"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
    let mut cursor = feed["cursor"].as_str().unwrap().to_owned();
    loop {
        let (status, page) = installed.get(&format!("/v1/events?limit=7&after={cursor}")).await;
        assert_eq!(status, 200, "{page}");
        let events = page["events"].as_array().unwrap();
        if events.is_empty() {
            break;
        }
        read.extend(events.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
        cursor = page["next"].as_str().unwrap().to_owned();
    }
    let all = column(installed, "SELECT event_id FROM outbox ORDER BY position").await;
    assert_eq!(read, all, "every event once, in its order");
}

/// The migration edits the schema's text on SQLite.
async fn the_file_is_sound(installed: &Installation) {
    if matches!(installed.fixture.db, TestDb::Sqlite(_)) {
        for problems in ["pragma_integrity_check WHERE integrity_check <> 'ok'", "pragma_foreign_key_check"] {
            assert_eq!(installed.number(&format!("SELECT COUNT(*) FROM {problems}")).await, 0, "{problems}");
        }
    }
}

/// Leases are taken over under their names, in later terms: a process of the version before would be fenced off.
async fn leases_are_taken_over(installed: &Installation) {
    let (status, jobs) = installed.get("/v1/ops/jobs").await;
    assert_eq!(status, 200, "{jobs}");
    for name in LEASES {
        let before = installed.leases[*name];
        within_timeout(&format!("a term of {name} after {before}"), async {
            while installed.leases().await[*name] <= before {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }
}
