//! Requests in the console: made by one user, decided by another.

use wxpay_worker::ids::EventId;
use wxpay_worker::store::Role;

use super::{LEAD, service};
use crate::console_pages::user::User;
use crate::harness::sql::texts;

const REFUND: &str = "/console/orders/main/APC00001/refund";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_asks_and_another_approves_on_the_page() {
    let service = service().in_process().await;
    service.paid("APC00001").await;
    let (operator, admin) =
        (User::log_in(&service, Role::Operator, None).await, User::log_in(&service, Role::Admin, None).await);
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    let transaction_id = texts(service.store.db(), "SELECT transaction_id FROM payments").await.remove(0);
    let key = EventId::new().to_string();
    let fields = [
        ("transaction_id", transaction_id.as_str()),
        ("key", key.as_str()),
        ("amount", "0.80"),
        ("reason", "out of stock"),
        ("confirm", "1"),
    ];
    for _ in 0..2 {
        let asked = operator.submit(REFUND, &fields).await;
        assert_eq!((asked.status, asked.location.as_str()), (303, "/console/approvals"), "{}", asked.words());
    }
    assert_eq!(service.refunds_here().await, 0);
    let id = service.number("SELECT MAX(id) FROM approvals WHERE state = 'waiting'").await;
    assert_eq!(service.number("SELECT COUNT(*) FROM approvals").await, 1, "sent twice, it waits once");
    let event = "SELECT payload FROM outbox WHERE event_type = 'wxpay.approval.waiting.v1'";
    let events = texts(service.store.db(), event).await;
    assert_eq!(events.len(), 1, "the second person hears of it once");
    let event: serde_json::Value = serde_json::from_str(&events[0]).unwrap();
    let heard = (&event["subject"], &event["data"]["approval"], &event["data"]["amount_fen"]);
    assert_eq!(heard, (&"APC00001".into(), &id.into(), &80.into()), "{event}");
    let (path, approve) = (format!("/console/approvals/{id}"), [("reason", "seen"), ("decision", "approve")]);
    let form = format!("action=\"{path}\"");
    let own = operator.page("/console/approvals").await.text;
    assert!(own.contains("value=\"withdraw\"") && !own.contains("value=\"approve\""), "who asked withdraws at most");
    let overview = admin.whole_overview(&service).await;
    overview.shows("1 request waits for a second person");
    let page = admin.page("/console/approvals").await;
    page.shows("¥0.80");
    page.shows("Refund credited");
    page.shows("out of stock");
    assert!(page.text.contains(&form), "{}", page.words());
    admin.get_in_chinese("/console/approvals").await.shows("待复核");
    assert_eq!(viewer.submit(&path, &approve).await.status, 403);
    assert_eq!(operator.submit(&path, &approve).await.status, 303, "says that another one decides");
    assert_eq!(service.refunds_here().await, 0);
    assert_eq!(admin.submit(&path, &[("decision", "approve")]).await.status, 303, "says that a reason is needed");
    assert_eq!(service.refunds_here().await, 0);
    assert_eq!(admin.submit(&path, &approve).await.status, 303);
    assert_eq!(service.refunds_here().await, 1);
    admin.page("/console/approvals?state=all").await.shows("approved");
    assert_eq!(service.decided(LEAD, id, "approve").await.0, 200, "over the API it is approved as well");
    assert_eq!(service.refunds_here().await, 1);
    let refund_no = texts(service.store.db(), "SELECT refund_no FROM refunds").await.remove(0);
    service.poll_until(&refund_no, "processing").await;
    service.ends(&refund_no, "SUCCESS").await;
    service.until_refunded(&refund_no, "succeeded").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asked_withdraws_and_no_other_does_and_it_is_asked_for_again() {
    let service = service().in_process().await;
    service.paid("APC00002").await;
    let (operator, admin) =
        (User::log_in(&service, Role::Operator, None).await, User::log_in(&service, Role::Admin, None).await);
    let transaction_id = texts(service.store.db(), "SELECT transaction_id FROM payments").await.remove(0);
    let ask = async || {
        let key = EventId::new().to_string();
        let fields = [
            ("transaction_id", transaction_id.as_str()),
            ("key", key.as_str()),
            ("amount", "0.80"),
            ("reason", "out of stock"),
            ("confirm", "1"),
        ];
        let asked = operator.submit(&REFUND.replace("APC00001", "APC00002"), &fields).await;
        assert_eq!((asked.status, asked.location.as_str()), (303, "/console/approvals"), "{}", asked.words());
        service.number("SELECT MAX(id) FROM approvals").await
    };
    let first = ask().await;
    let (path, withdraw) = (format!("/console/approvals/{first}"), [("reason", "a typo"), ("decision", "withdraw")]);
    assert_eq!(admin.submit(&path, &withdraw).await.status, 404);
    let state = |id: i64| format!("SELECT state || ' ' || COALESCE(decided_by, '') FROM approvals WHERE id = {id}");
    assert_eq!(texts(service.store.db(), &state(first)).await, ["waiting "]);
    assert_eq!(operator.submit(&path, &withdraw).await.status, 303);
    let withdrawn = texts(service.store.db(), &state(first)).await.remove(0);
    assert!(withdrawn.starts_with("refused ") && withdrawn.len() > "refused ".len(), "{withdrawn}");
    assert_eq!(service.refunds_here().await, 0);
    // The page makes another key for each form: what was withdrawn or refused is asked for anew.
    let second = ask().await;
    assert!(second > first, "the withdrawn request is in the way");
    assert_eq!(texts(service.store.db(), &state(second)).await, ["waiting "]);
    service.finish().await;
}
