//! What was refused because of a wrong key settles by the forms, once; who may not replay cannot.

use serde_json::json;
use wxpay_worker::secret::V2Key;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::service::{InProcess, KEY, OTHER_KEY};

impl InProcess {
    fn verifies_with(&mut self, key: &str) {
        self.put_in_force(|config| config.merchants[0].v2_key = V2Key::parse(key).unwrap());
    }

    /// An order whose payment's notification was refused because of a wrong key.
    async fn refused(&mut self, order_no: &str) {
        self.place(order_no).await;
        self.verifies_with(OTHER_KEY);
        self.pay(order_no).await;
        self.until_number("the refused notification", "SELECT COUNT(*) FROM refused_notifications", |n| n == 1).await;
        self.verifies_with(KEY);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_notification_settles_once_by_the_forms() {
    let mut service = service().in_process().await;
    service.refused("C100001").await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let order = user.page("/console/orders/main/C100001").await;
    order.shows("No key of the merchant verifies the signature.");
    order.shows("Notifications that name this order were refused.");
    order.shows("openid: ***");
    order.shows("Message, masked (amounts in fen)");
    let refused = user.page("/console/notifications?verdict=refused").await;
    refused.shows("C100001");
    refused.shows("signature");
    let form = refused.link("Replay these");
    assert!(form.contains("kind=notification") && form.contains("refused=1"), "{form}");
    user.page(&form).await.shows("A plan predicts the results");

    let select = [("kind", "notification"), ("refused", "1"), ("order_no", "C100001"), ("reason", "the key was wrong")];
    // Left out, a field that cannot be read would select more.
    for field in [("order_no", "C 1"), ("ids", "a/b"), ("from", "yesterday"), ("kind", "refund")] {
        let asked = [field, ("kind", "notification"), ("refused", "1"), ("reason", "the key was wrong")];
        assert_eq!(user.submit("/console/replays", &asked).await.status, 422, "{field:?}");
    }
    let planned = user.submit("/console/replays", &select).await;
    assert_eq!(planned.status, 303, "{}", planned.words());
    let replay = planned.location;
    let plan = user.page(&replay).await;
    plan.shows("would settle 1");
    plan.shows("1 to do");
    assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 0, "a plan changes nothing");
    let started = user.submit(&format!("{replay}/start"), &[]).await;
    assert_eq!((started.status, started.location.as_str()), (303, replay.as_str()));
    // The stream ends with the replay.
    let events = user.stream(&format!("{replay}/stream")).await;
    assert!(events.is_empty() || events.contains("\"state\":\"done\""), "{events}");
    service.until_state("C100001", "paid").await;
    service.until_number("the end", "SELECT COUNT(*) FROM replays WHERE state = 'done'", |n| n == 1).await;
    let done = user.page(&replay).await;
    done.shows("settled 1");

    let again = user.submit("/console/replays", &select).await.location;
    user.page(&again).await.shows("0 to do");
    let refused = user.submit(&format!("{again}/cancel"), &[]).await;
    assert_eq!(refused.status, 303);
    user.page(&again).await.shows("cancelled");
    user.page("/console/replays").await.shows("the key was wrong");
    let history = user.page("/console/orders/main/C100001").await;
    history.shows("payable → paid · the payer paid (notification)");
    history.shows("Ledger credited ¥1.00");
    history.shows("order.paid");
    user.get_in_chinese("/console/orders/main/C100001").await.shows("待支付 → 已支付 · 付款人已支付 (通知)");
    service.until_idle().await;
    for (what, rows) in [
        ("ledger", 1),
        ("outbox WHERE event_type = 'wxpay.order.paid.v1'", 1),
        ("audit WHERE action = 'replay.start' AND actor = 'operator-false' AND reason = 'the key was wrong'", 1),
    ] {
        assert_eq!(service.number(&format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_and_a_form_of_another_page_replay_nothing() {
    let mut service = service().in_process().await;
    service.refused("C100001").await;
    let (viewer, operator) =
        (User::log_in(&service, Role::Viewer, None).await, User::log_in(&service, Role::Operator, None).await);
    let select = [("kind", "notification"), ("refused", "1"), ("reason", "why not")];
    viewer.page("/console/orders/main/C100001").await.hides("/console/replays/new");
    viewer.page("/console/notifications?verdict=refused").await.hides("Replay these");
    assert_eq!(viewer.get("/console/replays/new").await.status, 403);
    assert_eq!(viewer.submit("/console/replays", &select).await.status, 403);
    assert_eq!(operator.submit_without_token("/console/replays", &select).await.status, 403);
    assert_eq!(service.number("SELECT COUNT(*) FROM replays").await, 0);
    let replay = operator.submit("/console/replays", &select).await.location;
    viewer.page(&replay).await.hides("Start the replay");
    for action in ["start", "pause", "resume", "cancel"] {
        assert_eq!(viewer.submit(&format!("{replay}/{action}"), &[]).await.status, 403, "{action}");
    }
    for action in ["refresh", "close", "accept", "refund"] {
        let path = format!("/console/orders/main/C100001/{action}");
        assert_eq!(viewer.submit(&path, &[("reason", "why not")]).await.status, 403, "{action}");
    }
    assert_eq!(service.number("SELECT COUNT(*) FROM replays WHERE state = 'planned'").await, 1);
    // The list of replays, over the API.
    let (status, list) = service.get("/v1/ops/replays?state=planned").await;
    assert_eq!((status, list["replays"].as_array().unwrap().len(), &list["next"]), (200, 1, &json!(null)), "{list}");
    assert_eq!(list["replays"][0]["reason"], "why not");
    operator.submit(&format!("{replay}/start"), &[]).await;
    service.until_state("C100001", "paid").await;
    service.finish().await;
}
