//! Messages of the version before, and messages about orders that are claimed.

use wxpay_worker::bus::Message;
use wxpay_worker::event::command::{OrderContent, OrderRequested};
use wxpay_worker::event::envelope::{Envelope, EventData};
use wxpay_worker::event::subject;
use wxpay_worker::ids::{EventId, OrderNo};

use crate::harness::service::{InProcess, TestService};
use crate::settling::on_both;

/// `order.requested` as the version before publishes it: nothing is recorded before.
async fn publish(service: &InProcess, content: &OrderContent, id: EventId) {
    let merchant = content.merchant.clone();
    let at = service.clock.now();
    let data = OrderRequested { order: content.clone(), requested_at: at, idempotency: None };
    let about = Some(content.order_no.to_string());
    let envelope = Envelope { id, ..Envelope::new(&merchant, OrderRequested::TYPE, about, at, data) };
    let payload = envelope.to_json().unwrap().into_bytes();
    let message = Message { subject: subject::order_requested(&merchant), id, payload, headers: Vec::new() };
    service.bus.publish(message).await.unwrap();
}

on_both! {
    async fn an_order_that_an_older_ingress_only_published_is_recorded_and_placed(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("A750001").await;
        let like = service.stored("A750001").await.content;
        let content = OrderContent { order_no: OrderNo::parse("A750002").unwrap(), ..like };
        publish(&service, &content, EventId::new()).await;
        service.found("the order", || async {
            let rows = "SELECT COUNT(*) FROM orders WHERE order_no = 'A750002' AND state = 'payable'";
            (service.number(rows).await == 1).then_some(())
        }).await;
        assert_eq!(service.wechat_calls("unifiedorder", "A750002").await.len(), 1);
        service.finish().await;
    }

    /// An ingress of the version before publishes the command again when its caller repeats a request.
    async fn a_message_about_a_claimed_order_makes_no_call_and_after_the_claim_it_places(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("A750003").await;
        // As a process leaves it that claimed it, called WeChat and crashed.
        let now = service.clock.now().as_ms();
        let (soon, later) = (now + 5_000, now + 60_000);
        for sql in [
            "UPDATE attempts SET state = 'created', prepay_id = NULL, prepay_issued_at_ms = NULL".to_owned(),
            format!("UPDATE orders SET state = 'requested', placing_version = version, placing_until_ms = {soon},
                       answered_at_ms = {now}, next_query_at_ms = {later}"),
        ] {
            service.store.db().execute("test", sql, []).await.unwrap();
        }
        let stored = service.stored("A750003").await;
        publish(&service, &stored.content, EventId::new()).await;
        publish(&service, &stored.content, stored.requested_by).await;
        service.found("the end of the messages", || async {
            let lag = service.bus.lag().await.unwrap();
            lag.iter().all(|l| l.pending == 0 && l.in_flight == 0).then_some(())
        }).await;
        assert_eq!(service.wechat_calls("unifiedorder", "A750003").await.len(), 1, "the first placing's");
        // The claim has ended, and so has the time after which the order is polled.
        service.skip(61);
        service.until_state("A750003", "payable").await;
        assert_eq!(service.wechat_calls("unifiedorder", "A750003").await.len(), 2, "the same call, repeated");
        service.finish().await;
    }
}
