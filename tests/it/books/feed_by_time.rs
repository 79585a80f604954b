//! `since` and `until` of the feed.

use std::time::Duration;

use serde_json::Value;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::domain::{DomainData, DomainEvent, OrderEnded};
use wxpay_worker::ids::{AppKey, OrderNo};
use wxpay_worker::money::Fen;

use crate::http::stage::{Stage, main};

fn subjects(page: &Value) -> Vec<&str> {
    page["events"].as_array().unwrap().iter().map(|event| event["subject"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_feed_is_read_by_time_and_goes_on_behind_it() {
    let stage = Stage::start().await;
    let begun = Timestamp::from_ms(stage.clock.now().as_ms() - 100 * 3600 * 1000);
    let at = |hours: u64| begun.after(Duration::from_secs(hours * 3600));
    for hour in 0..40 {
        let order_no = OrderNo::parse(format!("T{hour:06}")).unwrap();
        let data = DomainData::OrderClosed(OrderEnded {
            order_no: order_no.clone(),
            app: AppKey::parse("shop").unwrap(),
            amount_fen: Fen::from_i64(1),
            currency: "CNY",
            wechat: None,
        });
        stage.store.emit(DomainEvent { merchant: main(), order_no: Some(order_no), data }, at(hour)).await.unwrap();
    }
    let page = stage.get(&format!("/v1/events?since={}&until={}", at(7), at(10))).await.json();
    assert_eq!(subjects(&page), ["T000007", "T000008", "T000009"]);
    let page = stage.get(&format!("/v1/events?since={}", at(38))).await.json();
    assert_eq!(subjects(&page), ["T000038", "T000039"]);
    assert_eq!(subjects(&stage.get(&format!("/v1/events?since={}", at(99))).await.json()), [] as [&str; 0]);
    // The cursor of a part stands behind the part, not at the feed's end.
    let page = stage.get(&format!("/v1/events?until={}&limit=2", at(3))).await.json();
    assert_eq!(subjects(&page), ["T000000", "T000001"]);
    let next = page["next"].as_str().unwrap();
    let page = stage.get(&format!("/v1/events?until={}&limit=2&after={next}", at(3))).await.json();
    assert_eq!(subjects(&page), ["T000002"]);
    let next = page["next"].as_str().unwrap();
    let page = stage.get(&format!("/v1/events?until={}&after={next}&wait=30", at(3))).await.json();
    assert_eq!((subjects(&page).len(), page["next"].as_str()), (0, Some(next)));
    assert_eq!(subjects(&stage.get(&format!("/v1/events?after={next}&limit=1")).await.json()), ["T000003"]);
    stage.execute("DELETE FROM outbox WHERE position = 21").await;
    stage.execute("DELETE FROM outbox WHERE position = 22").await;
    let page = stage.get(&format!("/v1/events?since={}&limit=1", at(20))).await.json();
    assert_eq!(subjects(&page), ["T000022"], "what retention removed leaves a hole");
    for bad in ["since=today", "until=1", "since=2026-11-27T00:00:00Z&until=2026-11-26T00:00:00Z"] {
        assert_eq!(stage.get(&format!("/v1/events?{bad}")).await.invalid().len(), 1, "{bad}");
    }
    stage.finish().await;
}
