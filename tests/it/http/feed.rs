//! The feed that finance reads.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use wxpay_worker::event::domain::{DeadLetterParked, DomainData, DomainEvent, OrderEnded};
use wxpay_worker::ids::{AppKey, MerchantKey, OrderNo};
use wxpay_worker::money::Fen;
use wxpay_worker::store::Fenced;

use super::stage::{OTHER_MERCHANT, OTHERS_KEY, Stage, main};

fn closed(merchant: &MerchantKey, n: usize) -> DomainEvent {
    let order_no = OrderNo::parse(format!("A{n:06}")).unwrap();
    let data = DomainData::OrderClosed(OrderEnded {
        order_no: order_no.clone(),
        app: AppKey::parse("shop").unwrap(),
        amount_fen: Fen::from_i64(1),
        currency: "CNY",
        wechat: None,
    });
    DomainEvent { merchant: merchant.clone(), order_no: Some(order_no), data }
}

fn parked() -> DomainEvent {
    let data = DomainData::DeadLetterParked(DeadLetterParked {
        event_id: "e".into(),
        consumer: "settle".into(),
        message_subject: "pay.in.main.notify.received".into(),
        reason: "x".into(),
        last_error: "x".into(),
        attempts: 1,
        order_no: None,
    });
    DomainEvent { merchant: main(), order_no: None, data }
}

async fn tell(stage: &Stage, events: impl IntoIterator<Item = DomainEvent>) {
    for event in events {
        stage.store.emit(event, stage.clock.now()).await.unwrap();
    }
    let lease = stage.store.lease("relay", "test", Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(matches!(stage.store.place_events(&lease, 1000).await.unwrap(), Fenced::Done(_)));
}

fn subjects(page: &Value) -> Vec<String> {
    page["events"].as_array().unwrap().iter().map(|e| e["subject"].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let stage = Stage::start().await;
    tell(&stage, (0..5).map(|n| closed(&main(), n))).await;
    let first = stage.get("/v1/events?limit=3").await.json();
    assert_eq!(subjects(&first), ["A000000", "A000001", "A000002"]);
    assert_eq!(first["events"][0]["type"], "wxpay.order.closed.v1");
    let next = first["next"].as_str().unwrap();
    let second = stage.get(&format!("/v1/events?limit=3&after={next}")).await.json();
    assert_eq!(subjects(&second), ["A000003", "A000004"]);
    let next = second["next"].as_str().unwrap();
    let third = stage.get(&format!("/v1/events?after={next}")).await.json();
    assert_eq!((subjects(&third).len(), third["next"].as_str()), (0, Some(next)));
    stage.finish().await;
}

#[tokio::test]
async fn types_are_filtered_and_unknown_ones_refused() {
    let stage = Stage::start().await;
    tell(&stage, [closed(&main(), 0), parked(), closed(&main(), 1)]).await;
    let page = stage.get("/v1/events?types=dead_letter.parked").await.json();
    assert_eq!(
        (subjects(&page), &page["events"][0]["type"]),
        (vec!["-".to_owned()], &Value::from("wxpay.dead_letter.parked.v1"))
    );
    // What the filter left out is not read again.
    let next = page["next"].as_str().unwrap();
    assert_eq!(subjects(&stage.get(&format!("/v1/events?after={next}")).await.json()).len(), 0);
    let both = stage.get("/v1/events?types=wxpay.order.closed.v1,dead_letter.parked").await.json();
    assert_eq!(subjects(&both).len(), 3);
    for bad in [
        "types=order.exploded",
        "after=zzz",
        "after=ZS0x",
        "limit=0",
        "limit=1001",
        "limit=-1",
        "wait=31",
        "limit=1&limit=2",
    ] {
        assert_eq!(stage.get(&format!("/v1/events?{bad}")).await.invalid().len(), 1, "{bad}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn a_long_poll_is_answered_when_something_happens() {
    let stage = Stage::start().await;
    let begun = Instant::now();
    let ((), page) = tokio::join!(
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            tell(&stage, [closed(&main(), 1)]).await;
        },
        stage.get("/v1/events?wait=30")
    );
    assert_eq!(subjects(&page.json()), ["A000001"]);
    // One that waits in vain is answered after thirty seconds.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(30), "{took:?}");
    stage.finish().await;
}

#[tokio::test]
async fn a_long_poll_that_waits_in_vain_ends_in_time_and_at_a_stop() {
    let stage = Stage::start().await;
    let page = stage.get("/v1/events?wait=1").await;
    assert_eq!((page.status, subjects(&page.json()).len()), (200, 0));
    let begun = Instant::now();
    let (page, ()) = tokio::join!(stage.get("/v1/events?wait=30"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stage.stop.cancel();
    });
    assert_eq!(page.status, 200);
    assert!(begun.elapsed() < Duration::from_secs(30));
    stage.finish().await;
}

#[tokio::test]
async fn a_key_limited_to_a_merchant_sees_only_its_events() {
    let stage = Stage::with("", OTHER_MERCHANT).await;
    let other = MerchantKey::parse("other").unwrap();
    tell(&stage, [closed(&main(), 1), closed(&other, 2)]).await;
    let authorization = format!("Bearer {OTHERS_KEY}");
    let page = stage.send("GET", "/v1/events", &[("Authorization", &authorization)], b"").await;
    assert_eq!(subjects(&page.json()), ["A000002"]);
    assert_eq!(subjects(&stage.get("/v1/events").await.json()), ["A000001", "A000002"]);
    stage.finish().await;
}
