//! Money of no order goes back over the console as an order's does.

use serde_json::json;
use wxpay_worker::ids::EventId;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::sql::texts;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_shown_first_and_goes_back_once_under_the_forms_key() {
    let service = service().refunds().in_process().await;
    let transaction_id = service.unmatched("NONE0101", json!({"fee_type": "HKD"})).await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let path = user.page("/console/held?class=unmatched").await.link("Give back");
    assert_eq!(path, format!("/console/payments/main/{transaction_id}/refund"));
    user.page(&path).await.shows("Left to refund 100 HKD");
    let key = EventId::new().to_string();
    let form = user.page(&path).await;
    form.shows("smallest unit, as shown above, of HKD");
    assert!(form.text.contains("name=\"units\" value=\"100\""), "{}", form.text);
    // Yuan, and what a form of the version before names.
    for (field, amount) in [("units", "0.30"), ("units", "101"), ("amount", "30")] {
        let refused = user.submit(&path, &[("key", &key), (field, amount), ("reason", "x")]).await;
        refused.shows("smallest unit, like 1250");
    }
    let fields = [("key", key.as_str()), ("units", "30"), ("reason", "of no order")];
    let preview = user.submit(&path, &fields).await;
    preview.shows("Refund −30 HKD Left afterwards 70 HKD");
    assert!(preview.link("Change").contains(&format!("&key={key}")), "another amount keeps the key");
    assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0, "a preview changes nothing");
    let confirmed: Vec<_> = fields.iter().copied().chain([("confirm", "1")]).collect();
    for _ in 0..2 {
        let answer = user.submit(&path, &confirmed).await;
        assert_eq!((answer.status, answer.location.as_str()), (303, "/console/held?class=unmatched"));
    }
    let refunds =
        "SELECT amount_fen || ' ' || currency || ' ' || requested_by || ' ' || (order_id IS NULL) FROM refunds";
    assert_eq!(texts(service.store.db(), refunds).await, ["30 HKD user:operator-false 1"]);
    let audit = "SELECT actor || ' ' || reason || ' ' || result || ' ' || transaction_id FROM audit
                 WHERE action = 'payment.give_back'";
    let expected = format!("operator-false of no order done {transaction_id}");
    assert_eq!(texts(service.store.db(), audit).await, [expected]);
    let list = user.page("/console/refunds").await;
    list.shows("−30 HKD");
    list.shows("Total ¥0.00");
    let refund_no = texts(service.store.db(), "SELECT refund_no FROM refunds").await.remove(0);
    service.pass(70).await;
    service.ends(&refund_no, "SUCCESS").await;
    service.until_refunded(&refund_no, "succeeded").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_is_sent_again_after_the_order_appeared_is_the_same_refund() {
    let service = service().refunds().in_process().await;
    let transaction_id = service.unmatched("NONE0103", json!({})).await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let (path, key) = (format!("/console/payments/main/{transaction_id}/refund"), EventId::new().to_string());
    let submit = async |path: &str, amount: &str| {
        let named = [("key", key.as_str()), ("transaction_id", transaction_id.as_str()), ("amount", amount)];
        user.submit(path, &[&named[..], &[("reason", "a gift"), ("confirm", "1")]].concat()).await
    };
    assert_eq!(submit(&path, "0.30").await.status, 303);
    service.appears("NONE0103").await;
    for path in [path.as_str(), "/console/orders/main/NONE0103/refund"] {
        let again = submit(path, "0.30").await;
        assert_eq!(again.status, 303, "{path}: {}", again.words());
        let other = submit(path, "0.20").await;
        assert_eq!(other.status, 409, "{path}: {}", other.words());
        other.shows("This form already made another refund");
    }
    assert_eq!(service.number("SELECT SUM(amount_fen) FROM refunds").await, 30);
    let refund_no = texts(service.store.db(), "SELECT refund_no FROM refunds").await.remove(0);
    service.pass(70).await;
    service.ends(&refund_no, "SUCCESS").await;
    service.until_refunded(&refund_no, "succeeded").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_that_wechat_cannot_be_asked_about_is_not_given_back_whether_or_not_the_audit_takes_it() {
    let service = service().refunds().in_process().await;
    let transaction_id = service.unmatched("NONE0104", json!({})).await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let (path, key) = (format!("/console/payments/main/{transaction_id}/refund"), EventId::new().to_string());
    let fields = [("key", key.as_str()), ("amount", "0.30"), ("reason", "a gift"), ("confirm", "1")];
    service.faults(json!([{"on": "orderquery", "kind": "http_500"}])).await;
    for _ in 0..2 {
        let refused = user.submit(&path, &fields).await;
        assert_eq!(refused.status, 503, "{}", refused.words());
        refused.shows("WeChat could not be asked, nothing was recorded");
        refused.hides("it is not known whether the refund was recorded");
    }
    assert_eq!(service.audited("payment.give_back").await, ["unconfirmed"], "once in an hour");
    let other = User::log_in(&service, Role::Admin, None).await;
    service.alter("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END").await;
    other.submit(&path, &fields).await.shows("WeChat could not be asked, nothing was recorded");
    service.alter("DROP TRIGGER full").await;
    service.clear_faults().await;
    assert_eq!(service.audited("payment.give_back").await, ["unconfirmed"]);
    assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_may_not_sees_no_form_and_a_payment_whose_order_appeared_is_shown_again() {
    let service = service().refunds().in_process().await;
    let transaction_id = service.unmatched("NONE0102", json!({})).await;
    let path = format!("/console/payments/main/{transaction_id}/refund");
    let key = EventId::new().to_string();
    let fields = [("key", key.as_str()), ("amount", "0.30"), ("reason", "a gift"), ("confirm", "1")];
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    viewer.page("/console/held?class=unmatched").await.hides("Give back");
    let stranger = User::log_in(&service, Role::Operator, Some(&["other"])).await;
    for (user, status) in [(&viewer, 403), (&stranger, 404)] {
        assert_eq!((user.get(&path).await.status, user.submit(&path, &fields).await.status), (status, status));
    }
    let user = User::log_in(&service, Role::Operator, None).await;
    assert_eq!(user.submit_without_token(&path, &fields).await.status, 403);
    service.appears("NONE0102").await;
    let order = format!("/console/orders/main/NONE0102/refund?transaction_id={transaction_id}&key=");
    let (shown, posted) = (user.get(&path).await, user.submit(&path, &fields).await);
    assert_eq!((shown.status, posted.status, posted.location), (303, 303, format!("{order}{key}")));
    assert!(shown.location.starts_with(&order), "{}", shown.location);
    assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
    service.until_state("NONE0102", "paid").await;
    service.finish().await;
}
