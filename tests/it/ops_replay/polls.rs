//! Dead letters of the consumer `query`: polls of orders.

use serde_json::json;
use wxpay_worker::bus::{ConsumerName, Message, Parked, Parking};
use wxpay_worker::event::command::QueryDue;
use wxpay_worker::event::envelope::{Envelope, EventData};
use wxpay_worker::event::subject;
use wxpay_worker::ids::{MerchantKey, OrderNo};
use wxpay_worker::worker::StoreParking;

use super::{act, items, plan, until_done};
use crate::harness::service::{InProcess, TestService};

async fn park_poll(service: &InProcess, order_no: &str) {
    let (merchant, now) = (MerchantKey::parse("main").unwrap(), service.clock.now());
    let data = QueryDue { order_no: OrderNo::parse(order_no).unwrap(), refresh: false };
    let event = Envelope::new(&merchant, QueryDue::TYPE, None, now, data);
    let message = Message {
        subject: subject::query_due(&merchant),
        id: event.id,
        payload: event.to_json().unwrap().into_bytes(),
        headers: Vec::new(),
    };
    let parked = Parked {
        message,
        consumer: ConsumerName::QUERY,
        reason: "exhausted",
        first_error: "first".into(),
        last_error: "last".into(),
        attempts: 3,
        published_at: now,
    };
    StoreParking::new(service.store.clone(), service.clock.clone()).park(parked).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replayed_poll_says_that_its_order_is_gone_or_that_wechat_does_not_answer() {
    let service = TestService::embedded_sqlite().await.in_process().await;
    service.expect_dead_letters(&["exhausted"; 2]);
    service.place("Q100001").await;
    park_poll(&service, "Q100001").await;
    park_poll(&service, "Q100009").await;
    service.faults(json!([{"on": "orderquery", "kind": "system_error"}])).await;
    let select = json!({"kind": "dead_letter", "reason_class": "exhausted"});
    for results in [
        json!({"settled": 0, "no_op": 0, "failed": {"not_yet": 1, "unknown_order": 1}}),
        json!({"settled": 1, "no_op": 0, "failed": {"unknown_order": 1}}),
    ] {
        let planned = plan(&service, &select, 1000).await;
        let expected = json!({"would_settle": 1, "no_op": 0, "still_fails": {"unknown_order": 1}});
        assert_eq!((&planned["to_do"], &planned["predicted"]), (&json!(1), &expected));
        act(&service, &planned, "start").await;
        let done = until_done(&service, &planned).await;
        assert_eq!(done["results"], results, "{:?}", items(&service, &planned).await);
        service.clear_faults().await;
    }
    let again = plan(&service, &select, 1000).await;
    assert_eq!((&again["total"], &again["to_do"]), (&json!(1), &json!(0)), "{again}");
    service.finish().await;
}
