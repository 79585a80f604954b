//! What a receiver gets: the event, signed, once where it answers, in the order of each order_no.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::webhooks::{SigningSecret, signatures};

use super::receiver::{Received, Receiver};
use super::{CONFIG, endpoint, get, path, rows, service, until, until_attempts};
use crate::harness::service::{InProcess, MCH_ID, TestService, jsapi};

/// Whether a request is signed by these secrets.
pub fn is_signed(got: &Received, secrets: &[&str]) -> bool {
    let secrets: Vec<SigningSecret> = secrets.iter().map(|secret| SigningSecret::parse(secret).unwrap()).collect();
    let seconds: i64 = got.headers["webhook-timestamp"].parse().unwrap();
    let expected = signatures(&secrets, got.id(), Timestamp::from_ms(seconds * 1000), &got.body);
    got.headers["webhook-signature"] == expected
}

async fn pay(service: &InProcess, order_no: &str) {
    service.place(order_no).await;
    service.pay(order_no).await;
    service.until_state(order_no, "paid").await;
}

async fn the_feeds_event_is_posted(service: TestService) {
    let service = service.config(CONFIG).in_process().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &["order.paid", "wxpay.order.payable.v1"]).await;
    let secret = made["secret"].as_str().unwrap();
    pay(&service, "W100001").await;
    let got = receiver.until(2).await;
    let feed = service.get("/v1/events").await.1["events"].clone();
    assert_eq!(got.iter().map(Received::event).collect::<Vec<_>>(), *feed.as_array().unwrap());
    for request in &got {
        assert_eq!(request.id(), request.event()["id"].as_str().unwrap());
        assert_eq!(request.headers["content-type"], "application/json");
        assert!(is_signed(request, &[secret]), "{request:?}");
        let at: i64 = request.headers["webhook-timestamp"].parse().unwrap();
        assert!((service.clock.now().as_seconds() - at).abs() < 60);
    }
    until_attempts(&service, &made, 2, "delivered").await;
    let deliveries = rows(&service, &made, "deliveries").await;
    assert!(deliveries.iter().all(|row| row["state"] == "delivered" && row["attempts"] == 1), "{deliveries:?}");
    let state = get(&service, &made).await;
    assert_eq!((&state["pending"], &state["failed"], &state["secret"]), (&json!(0), &json!(0), &json!(null)));
    assert_eq!(state["attempts"], json!({"total": 2, "succeeded": 2}));
    assert_eq!(receiver.received().len(), 2, "each once");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_business_gave_is_posted_with_what_was_paid() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    endpoint(&service, &receiver.url, &["order.paid"]).await;
    let mut order = jsapi("W100031", 100);
    (order["description"], order["attach"]) = (json!("茶, 250 g"), json!("shift=2"));
    order["metadata"] = json!({"table": 7, "guests": ["a", "b"]});
    service.place_as(&order).await;
    let pay = json!({"out_trade_no": "W100031", "mch_id": MCH_ID, "coupon_fee": 30});
    service.wechat_control("pay", pay).await;
    let data = receiver.until(1).await[0].event()["data"].clone();
    for name in ["description", "attach", "metadata"] {
        assert_eq!(data[name], order[name], "{name}: {data}");
    }
    assert_eq!((&data["amount_fen"], &data["bank_type"]), (&json!(100), &json!("OTHERS")), "{data}");
    let coupon = json!({"coupon_id": "10000", "coupon_type": "CASH", "fee_fen": 30});
    assert_eq!(data["coupons"], json!([coupon]), "{data}");
    service.until_state("W100031", "paid").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feeds_event_is_posted_signed_once_embedded_sqlite() {
    the_feeds_event_is_posted(TestService::embedded_sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feeds_event_is_posted_signed_once_nats_postgres() {
    the_feeds_event_is_posted(TestService::nats_postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_endpoints_types_merchant_and_later_events_are_posted() {
    let service = service().in_process().await;
    service.place("W100001").await;
    // An event is in the feed only when the relay has given it a position.
    service.until_number("all in the feed", "SELECT COUNT(*) FROM outbox WHERE position IS NULL", |n| n == 0).await;
    let (paid, all) = (Receiver::start().await, Receiver::start().await);
    endpoint(&service, &paid.url, &["order.paid"]).await;
    let of_all = endpoint(&service, &all.url, &[]).await;
    service.pay("W100001").await;
    service.until_state("W100001", "paid").await;
    pay(&service, "W100002").await;
    all.until(3).await;
    paid.until(2).await;
    // Between orders there is no sequence.
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(paid.names()), ["W100001 order.paid", "W100002 order.paid"]);
    let names = sorted(all.names());
    assert_eq!(names, ["W100001 order.paid", "W100002 order.paid", "W100002 order.payable"]);
    until(&service, &of_all, "all delivered", |found| found["attempts"]["succeeded"] == 3).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_waits_for_an_earlier_one_of_its_order_and_other_orders_go_on() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    // The first event of one order is refused, whatever else comes.
    receiver.answer(|got| match (got.order_no().as_str(), got.name().as_str()) {
        ("W100001", "order.payable") => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        _ => StatusCode::OK.into_response(),
    });
    let made = endpoint(&service, &receiver.url, &[]).await;
    pay(&service, "W100001").await;
    pay(&service, "W100002").await;
    until(&service, &made, "the other order's events", |found| found["attempts"]["succeeded"] == 2).await;
    let mut names = receiver.names();
    names.retain(|name| !name.contains("payable"));
    assert_eq!(names, ["W100002 order.paid"], "the paid event of the blocked order waits");
    assert_eq!(get(&service, &made).await["pending"], 2);
    receiver.status(204);
    service.skip(60);
    until(&service, &made, "all delivered", |found| found["pending"] == 0).await;
    let of_first: Vec<Received> = receiver.received().into_iter().filter(|got| got.order_no() == "W100001").collect();
    let names: Vec<String> = of_first.iter().map(Received::name).collect();
    let (last, before) = names.split_last().unwrap();
    assert_eq!(last, "order.paid");
    assert!(before.len() >= 2 && before.iter().all(|name| name == "order.payable"), "{names:?}");
    let ids: Vec<&str> = of_first.iter().map(Received::id).collect();
    assert!(ids[..before.len()].iter().all(|id| *id == ids[0]), "each attempt has the same id");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_delays_neither_the_bus_nor_another_receiver() {
    let service = TestService::nats_sqlite().await.config(CONFIG).in_process().await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.hold(true);
    endpoint(&service, &slow.url, &[]).await;
    endpoint(&service, &quick.url, &[]).await;
    // At once: no attempt at the slow one ends meanwhile.
    let numbers: Vec<String> = (0..12).map(|n| format!("W10001{n:02}")).collect();
    futures_util::future::join_all(numbers.iter().map(|number| service.place(number))).await;
    quick.until(12).await;
    service.until_number("all on the bus", "SELECT COUNT(*) FROM outbox WHERE relayed_at_ms IS NULL", |n| n == 0).await;
    // The slow one has as many as it has slots, and none was answered.
    assert_eq!(slow.until(8).await.len(), 8);
    let written = "SELECT COUNT(*) FROM webhook_attempts WHERE outcome = 'delivered'";
    service.until_number("the quick one's answers", written, |n| n == 12).await;
    slow.hold(false);
    slow.until(12).await;
    let delivered = "SELECT COUNT(*) FROM webhook_deliveries WHERE state = 'delivered'";
    service.until_number("all delivered", delivered, |n| n == 24).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_never_ends_is_read_to_its_bound() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| {
        let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("x".repeat(4096)));
        axum::body::Body::from_stream(endless).into_response()
    });
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    service.place("W100001").await;
    let attempts = until_attempts(&service, &made, 1, "delivered").await;
    assert_eq!(attempts[0]["answer"]["body"].as_str().unwrap().len(), 1024);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orders_history_has_its_deliveries() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    service.place("W100001").await;
    until_attempts(&service, &made, 1, "delivered").await;
    let (status, history) = service.get("/v1/orders/W100001/history").await;
    assert_eq!(status, 200, "{history}");
    let entries = history["entries"].as_array().unwrap();
    let delivery = entries.iter().find(|entry| entry["kind"] == "delivery").unwrap_or_else(|| panic!("{history}"));
    assert_eq!(
        (&delivery["endpoint"], &delivery["outcome"], &delivery["status"], &delivery["type"]),
        (&made["id"], &json!("delivered"), &json!(204), &json!("wxpay.order.payable.v1"))
    );
    let event = entries.iter().find(|entry| entry["kind"] == "event").unwrap();
    assert_eq!(delivery["event_id"], event["id"]);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_secrets_sign_for_a_day_after_a_rotation() {
    let service = service().in_process().await;
    let receiver = Receiver::start().await;
    let made = endpoint(&service, &receiver.url, &["order.payable"]).await;
    let (status, rotated) = service.post(&format!("{}/rotate", path(&made)), &json!({"reason": "a year"})).await;
    assert_eq!(status, 200, "{rotated}");
    let secrets = [&rotated, &made].map(|of: &Value| of["secret"].as_str().unwrap());
    assert_ne!(secrets[0], secrets[1]);
    service.place("W100001").await;
    assert!(is_signed(&receiver.until(1).await[0], &secrets), "both, the new one first");
    until_attempts(&service, &made, 1, "delivered").await;
    service.skip_to(service.clock.now().after(Duration::from_secs(24 * 3600)));
    service.place("W100002").await;
    assert!(is_signed(&receiver.until(2).await[1], &secrets[..1]), "the new one alone");
    until_attempts(&service, &made, 2, "delivered").await;
    // What is stored is neither secret.
    let stored = "SELECT secret || old_secret FROM webhook_endpoints";
    let stored = crate::harness::sql::texts(service.store.db(), stored).await;
    assert!(!stored[0].contains("whsec_") && secrets.iter().all(|secret| !stored[0].contains(secret)));
    service.finish().await;
}
