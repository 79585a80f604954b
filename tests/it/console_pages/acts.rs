//! What a person does by the forms has one effect and a row in the audit: refund, accept, close, discard.

use wxpay_worker::ids::EventId;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::sql::texts;
use crate::ops_replay::park;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_is_shown_first_and_made_once() {
    let service = service().refunds().in_process().await;
    service.paid("A100001").await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let order = user.page("/console/orders/main/A100001").await;
    let form = order.link("Refund");
    user.page(&form).await.shows("Left to refund ¥1.00");
    let transaction_id = form.split_once("transaction_id=").unwrap().1.to_owned();
    let (path, key) = ("/console/orders/main/A100001/refund", EventId::new().to_string());
    let fields = [("transaction_id", transaction_id.as_str()), ("key", &key), ("amount", "0.30"), ("reason", "a gift")];
    let preview = user.submit(path, &fields).await;
    preview.shows("Refund −¥0.30 Left afterwards ¥0.70");
    let too_much = user.submit(path, &[fields[0], fields[1], ("amount", "1.01"), fields[3], ("confirm", "1")]).await;
    too_much.shows("Enter an amount like 12.50");
    assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0, "a preview changes nothing");
    let confirmed: Vec<_> = fields.iter().copied().chain([("confirm", "1")]).collect();
    for _ in 0..2 {
        assert_eq!(user.submit(path, &confirmed).await.status, 303);
    }
    assert_eq!(service.number("SELECT SUM(amount_fen) FROM refunds").await, 30);
    let audit = "SELECT actor || ' ' || action || ' ' || reason || ' ' || result FROM audit
                 WHERE action = 'refund.request'";
    let asked = ["refund_exceeds", "done"].map(|result| format!("operator-false refund.request a gift {result}"));
    assert_eq!(texts(service.store.db(), audit).await, asked);
    let refund_no = texts(service.store.db(), "SELECT refund_no FROM refunds").await.remove(0);
    service.pass(70).await;
    service.ends(&refund_no, "SUCCESS").await;
    service.until_refunded(&refund_no, "succeeded").await;
    let history = user.page("/console/orders/main/A100001").await;
    history.shows("Refund booked");
    history.shows("−¥0.30");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn held_money_is_accepted_and_an_order_closed_with_a_reason() {
    let service = service().in_process().await;
    let user = User::log_in(&service, Role::Operator, None).await;
    service.place("A100002").await;
    let close = "/console/orders/main/A100002/close";
    user.page(close).await.shows("WeChat is asked to close");
    assert_eq!(user.submit(close, &[]).await.status, 422, "without a reason");
    assert_eq!(user.submit(close, &[("reason", "sold out")]).await.status, 303);
    service.pass(310).await;
    service.until_state("A100002", "closed").await;

    service.place("A100003").await;
    service.pass(310).await;
    let late = service.stored("A100003").await.order.expires_at;
    service.pay("A100003").await;
    service.until_state("A100003", "paid").await;
    assert!(service.clock.now() < late);
    let transaction_id = texts(service.store.db(), "SELECT transaction_id FROM payments").await.remove(0);
    let accept = "/console/orders/main/A100003/accept";
    let fields = [("transaction_id", transaction_id.as_str()), ("reason", "known customer")];
    user.page(&format!("{accept}?transaction_id={transaction_id}")).await.shows("The payment is credited to the order");
    assert_eq!(user.submit(accept, &fields).await.status, 303);
    let audit = "SELECT action || ' ' || reason || ' ' || result FROM audit
                 WHERE actor = 'operator-false' AND action NOT LIKE 'console.%' ORDER BY id";
    let expected = ["order.close sold out asked", "payment.accept known customer repeated"];
    assert_eq!(texts(service.store.db(), audit).await, expected);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_grouped_explained_and_discarded() {
    let service = service().in_process().await;
    let user = User::log_in(&service, Role::Operator, None).await;
    user.page("/console/dead-letters").await.shows("No dead letters.");
    service.expect_dead_letters(&["exhausted"; 2]);
    for body in ["<xml><a>1</a></xml>", "<xml><a>2</a></xml>"] {
        park(&service, body, "exhausted").await;
    }
    let groups = user.page("/console/dead-letters").await;
    groups.shows("2 × exhausted");
    groups.shows("Every attempt at the message failed.");
    user.get_in_chinese("/console/dead-letters").await.shows("对该消息的每次尝试都失败了。");
    let list = user.page(&groups.link("Show")).await;
    assert_eq!(list.text.matches("type=\"checkbox\"").count(), 2);
    let ids = texts(service.store.db(), "SELECT CAST(id AS TEXT) FROM dead_letters ORDER BY id").await;
    user.page(&format!("/console/dead-letters/{}", ids[0])).await.shows("time unknown first");
    let path = "/console/dead-letters/discard";
    user.page(&format!("{path}?ids={}", ids[0])).await.shows("this cannot be undone");
    let posted = [("ids", ids[0].as_str()), ("reason", "by hand")];
    for _ in 0..2 {
        assert_eq!(user.submit(path, &posted).await.status, 303);
    }
    user.page("/console/dead-letters").await.shows("1 × exhausted");
    user.page("/console/dead-letters?state=discarded").await.shows("last");
    let results = "SELECT result FROM audit WHERE action = 'dead_letter.discard' ORDER BY id";
    assert_eq!(texts(service.store.db(), results).await, ["done", "repeated"]);
    service.finish().await;
}
