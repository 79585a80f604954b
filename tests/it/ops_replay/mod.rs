//! Replays: planned, started, watched; each item once, whatever happens to the processes.

mod control;
mod dead_letters;
mod displaced;
mod events;
mod kept;
mod polls;
mod refused;

use serde_json::{Value, json};
use wxpay_worker::bus::{ConsumerName, Message, Parked, Parking};
use wxpay_worker::event::command::{NoticeKind, NotifyReceived};
use wxpay_worker::event::envelope::{Envelope, EventData};
use wxpay_worker::event::subject;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::worker::StoreParking;

use crate::harness::service::InProcess;

const REPLAYS: &str = "/v1/ops/replays";
const WHY: &str = "the key is corrected";

/// The body of a plan.
fn planned(select: &Value, rate_per_second: usize) -> Value {
    json!({"select": select, "reason": WHY, "rate_per_second": rate_per_second})
}

/// Plans; answers the plan.
async fn plan(service: &InProcess, select: &Value, rate_per_second: usize) -> Value {
    let (status, plan) = service.post(REPLAYS, &planned(select, rate_per_second)).await;
    assert_eq!((status, &plan["state"]), (201, &json!("planned")), "{plan}");
    plan
}

/// Changes the state of a replay; answers it.
async fn act(service: &InProcess, plan: &Value, action: &str) -> Value {
    let (status, replay) = service.post(&format!("{}/{action}", path(plan)), &json!({})).await;
    assert!(status == 200 || (status == 202 && action == "start"), "{status} {replay}");
    replay
}

fn path(plan: &Value) -> String {
    format!("{REPLAYS}/{}", plan["id"].as_str().unwrap())
}

/// Awaits that a replay is as wanted.
async fn until(service: &InProcess, plan: &Value, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let is = &is;
    let poll = || async move {
        let (status, replay) = service.get(&path(plan)).await;
        assert_eq!(status, 200, "{replay}");
        is(&replay).then_some(replay)
    };
    service.found(what, poll).await
}

async fn until_done(service: &InProcess, plan: &Value) -> Value {
    until(service, plan, "the end of the replay", |replay| replay["state"] == "done").await
}

async fn items(service: &InProcess, plan: &Value) -> Vec<Value> {
    let (status, page) = service.get(&format!("{}/items", path(plan))).await;
    assert_eq!(status, 200, "{page}");
    page["items"].as_array().unwrap().clone()
}

/// Leaves a notification of the first merchant as a dead letter.
pub async fn park(service: &InProcess, body: &str, reason: &'static str) {
    let merchant = MerchantKey::parse("main").unwrap();
    let now = service.clock.now();
    let data = NotifyReceived {
        body: body.as_bytes().to_vec(),
        headers: Vec::new(),
        remote_addr: "127.0.0.1".into(),
        received_at: now,
        kind: NoticeKind::Pay,
    };
    let event = Envelope::new(&merchant, NotifyReceived::TYPE, None, now, data);
    let message = Message {
        subject: subject::notify_received(&merchant),
        id: event.id,
        payload: event.to_json().unwrap().into_bytes(),
        headers: Vec::new(),
    };
    let parked = Parked {
        message,
        consumer: ConsumerName::SETTLE,
        reason,
        first_error: "first".into(),
        last_error: "last".into(),
        attempts: 3,
        published_at: now,
    };
    StoreParking::new(service.store.clone(), service.clock.clone()).park(parked).await.unwrap();
}
