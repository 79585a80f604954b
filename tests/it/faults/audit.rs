//! The audit after every fault: WeChat's ledger, our own, the published events, the acknowledged notifications.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream;
use serde_json::{Value, json};
use wxpay_worker::store::Db;

use crate::harness::service::{MCH_ID, Processes, Queue};
use crate::harness::sql::texts;

/// Orders by number, with their amounts in fen.
pub type Orders = BTreeMap<String, i64>;

/// Exactly `orders` were paid, all of them, each once, and every SUCCESS was kept. That the books agree, `finish`
/// asserts.
pub async fn all_paid_once(rig: &Processes, base: &str, orders: &Orders) {
    let db = rig.open_db().await;
    paid_once(rig, base, orders).await;
    let truth = rig.wechat_books(&format!("mch_id={MCH_ID}")).await;
    acknowledged_are_kept(&db, &truth).await;
}

/// The same without the SUCCESSes: a queue that lost what it had acknowledged could not keep them.
pub async fn paid_once(rig: &Processes, base: &str, orders: &Orders) {
    let db = rig.open_db().await;
    let truth = rig.wechat_books(&format!("mch_id={MCH_ID}")).await;
    let payments = truth["payments"].as_array().unwrap().iter();
    let paid: Orders =
        payments.map(|p| (p["out_trade_no"].as_str().unwrap().to_owned(), p["total_fee"].as_i64().unwrap())).collect();
    assert_eq!(&paid, orders, "WeChat's ledger and the test's orders");
    for (order_no, amount_fen) in orders {
        let (_, order) = rig.get(base, &format!("/v1/orders/{order_no}?merchant=main")).await;
        assert_eq!((&order["state"], &order["amount_fen"]), (&json!("paid"), &json!(amount_fen)), "{order}");
        assert_eq!(order["attempts"].as_array().unwrap().len(), 1, "one number at WeChat: {order}");
    }
    parameters_never_differed(rig).await;
    announced_once_each(rig, base, &db, orders).await;
}

/// I6: every SUCCESS has its row.
async fn acknowledged_are_kept(db: &Db, truth: &Value) {
    let mut acknowledged: BTreeMap<&str, i64> = BTreeMap::new();
    for delivery in truth["deliveries"].as_array().unwrap().iter().filter(|d| d["outcome"] == "acknowledged") {
        *acknowledged.entry(delivery["out_trade_no"].as_str().unwrap()).or_default() += 1;
    }
    let sql = "SELECT out_trade_no FROM notifications WHERE verdict IN ('settled', 'duplicate')";
    let mut kept: BTreeMap<String, i64> = BTreeMap::new();
    for out_trade_no in texts(db, sql).await {
        *kept.entry(out_trade_no).or_default() += 1;
    }
    for (out_trade_no, count) in acknowledged {
        let kept = kept.get(out_trade_no).copied().unwrap_or_default();
        assert!(kept >= count, "{out_trade_no}: WeChat heard SUCCESS {count} times, {kept} are kept");
    }
}

/// Each number was sent to WeChat with one set of parameters, however often.
async fn parameters_never_differed(rig: &Processes) {
    let (_, seen) = rig.get(&rig.wechat_url, "/_sandbox/requests").await;
    for request in seen["requests"].as_array().unwrap().iter().filter(|r| r["api"] == "unifiedorder") {
        assert_eq!(request["parameters_sha256"].as_array().unwrap().len(), 1, "{request}");
    }
}

/// Exactly one refund of this order, at WeChat and here, to the fen; published once, sent with one set of parameters.
#[cfg(debug_assertions)]
pub async fn refunded_once(rig: &Processes, base: &str, order_no: &str, amount_fen: i64) {
    let db = rig.open_db().await;
    let truth = rig.wechat_ledger(order_no).await;
    let refunds = truth["refunds"].as_array().unwrap();
    assert_eq!(refunds.len(), 1, "refunds at WeChat: {refunds:?}");
    let sql = "SELECT refund_no || ' ' || refund_id || ' ' || amount_fen FROM refund_ledger";
    let text = |name: &str| refunds[0][name].as_str().unwrap().to_owned();
    let theirs = format!("{} {} {amount_fen}", text("out_refund_no"), text("refund_id"));
    assert_eq!(refunds[0]["refund_fee"], json!(amount_fen));
    assert_eq!(texts(&db, sql).await, [theirs], "our refund ledger and WeChat's");
    let (_, order) = rig.get(base, &format!("/v1/orders/{order_no}?merchant=main")).await;
    assert_eq!(
        (&order["refunded_fen"], &order["refunds"][0]["state"]),
        (&json!(amount_fen), &json!("succeeded")),
        "{order}"
    );
    assert_eq!(rig.number(&db, "SELECT COUNT(*) FROM refunds").await, 1);
    assert_eq!(rig.number(&db, "SELECT reserved_fen - refunded_fen FROM refund_totals").await, 0);
    let (_, seen) = rig.get(&rig.wechat_url, "/_sandbox/requests").await;
    for request in seen["requests"].as_array().unwrap().iter().filter(|r| r["api"] == "refund") {
        assert_eq!(request["parameters_sha256"].as_array().unwrap().len(), 1, "{request}");
    }
    for fact in ["requested", "succeeded"] {
        assert_eq!(rig.events(base, &format!("wxpay.refund.{fact}.v1")).await.len(), 1, "refund.{fact} in the feed");
        published_once(rig, &db, &format!("refund.{fact}"), 1).await;
    }
}

/// I7: one event id per paid order, in the feed and on the bus.
async fn announced_once_each(rig: &Processes, base: &str, db: &Db, orders: &Orders) {
    let feed: Vec<(String, String)> = rig
        .events(base, "wxpay.order.paid.v1")
        .await
        .iter()
        .map(|e| (e["subject"].as_str().unwrap().to_owned(), e["id"].as_str().unwrap().to_owned()))
        .collect();
    let announced: Vec<&String> =
        feed.iter().map(|(order_no, _)| order_no).collect::<BTreeSet<_>>().into_iter().collect();
    assert_eq!(feed.len(), orders.len(), "order.paid in the feed");
    assert_eq!(announced, orders.keys().collect::<Vec<_>>(), "paid orders in the feed");
    // A wiped NATS has lost what it had; what is on a bus must be what the feed says.
    let ids: BTreeSet<&str> = feed.iter().map(|(_, id)| id.as_str()).collect();
    let published = published(rig, db, "pay.event.main.order.paid").await;
    assert!(published.iter().all(|id| ids.contains(id.as_str())), "an order.paid that the feed does not have");
    let relayed = "SELECT COUNT(*) FROM outbox WHERE event_type = 'wxpay.order.paid.v1' AND relayed_at_ms IS NOT NULL";
    assert_eq!(rig.number(db, relayed).await, i64::try_from(orders.len()).unwrap(), "relayed order.paid events");
}

/// An event of each of so many orders reached the bus once; the embedded bus gets none, because nothing subscribes.
pub async fn published_once(rig: &Processes, db: &Db, event: &str, orders: usize) -> Vec<String> {
    let ids = published(rig, db, &format!("pay.event.main.{event}")).await;
    let expected = match &rig.queue {
        Queue::Embedded => 0,
        Queue::Nats(_) | Queue::Cluster(_) => orders,
    };
    assert_eq!(ids.len(), expected, "{event} on the bus: {ids:?}");
    ids
}

/// The ids under which a subject's messages are on the bus, repeats included.
async fn published(rig: &Processes, db: &Db, subject: &str) -> Vec<String> {
    let urls = match &rig.queue {
        Queue::Embedded => {
            return texts(db, &format!("SELECT dedupe_key FROM bus_messages WHERE subject = '{subject}'")).await;
        }
        Queue::Nats(_) | Queue::Cluster(_) => rig.queue.url(),
    };
    let servers: Vec<&str> = urls.split(',').collect();
    let context = jetstream::new(async_nats::connect(servers).await.unwrap());
    // Just after an election a server answers for a moment that it cannot tell.
    super::until(&format!("{subject} on the bus"), || published_on(&context, subject)).await
}

async fn published_on(context: &jetstream::Context, subject: &str) -> Option<Vec<String>> {
    let stream = context.get_stream("PAY_EVENTS").await.ok()?;
    let state = &stream.cached_info().state;
    let mut ids = Vec::new();
    for sequence in state.first_sequence.max(1)..=state.last_sequence {
        let message = stream.get_raw_message(sequence).await.ok()?;
        if message.subject.as_str() == subject {
            ids.push(message.headers.get("Nats-Msg-Id").unwrap().as_str().to_owned());
        }
    }
    Some(ids)
}
