//! The console's pages of webhooks: what they show, what a person does on them, and who may.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use wxpay_worker::store::Role;

use super::receiver::Receiver;
use super::{ALL, get, give_up, service, until, until_attempts};
use crate::console_pages::user::User;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_made_watched_and_recovered_on_the_pages() {
    let service = service().config("[console]\nenabled = true\n").in_process().await;
    let receiver = Receiver::start().await;
    receiver.answer(|_| (StatusCode::BAD_GATEWAY, "<script>alert(1)</script>").into_response());
    let admin = User::log_in(&service, Role::Admin, None).await;
    admin.page("/console/webhooks").await.shows("No endpoints yet.");
    let form = [("merchant", "main"), ("url", receiver.url.as_str()), ("events", "order.payable"), ("reason", "new")];
    assert_eq!(admin.submit("/console/webhooks", &form[..3]).await.status, 422, "without a reason");
    let refused = admin.submit("/console/webhooks", &[form[0], ("url", "http://10.0.0.1/"), form[3]]).await;
    assert_eq!(refused.status, 422);
    refused.shows("not on the internet");
    let made = admin.submit("/console/webhooks", &form).await;
    assert_eq!(made.status, 200, "{}", made.words());
    made.shows("whsec_");
    let list = service.get("/v1/webhooks").await.1["webhooks"].clone();
    let endpoint: Value = list[0].clone();
    let page = format!("/console/webhooks/{}", endpoint["id"].as_str().unwrap());
    admin.page(&page).await.hides("whsec_");
    service.place("W100001").await;
    until_attempts(&service, &endpoint, 1, "http_status").await;
    let shown = admin.page(&page).await;
    shown.shows("order.payable");
    shown.shows("W100001");
    let attempts = admin.page(&format!("{page}?tab=attempts")).await;
    attempts.shows("http_status");
    attempts.shows("502");
    attempts.hides("<script>alert");
    attempts.shows("webhook-timestamp:");
    admin.page("/console/webhooks").await.shows("0 %");
    admin.page("/console/orders/main/W100001").await.shows("order.payable · http_status 502");
    give_up(&service, ALL, "http_status").await;
    receiver.status(204);
    admin.page(&page).await.shows("Recover failed deliveries");
    let recover = format!("{page}/recover");
    let recovered = admin.submit(&recover, &[("hours", ""), ("reason", "it is back")]).await;
    assert_eq!(recovered.status, 303);
    until(&service, &endpoint, "the delivery", |found| found["failed"] == 0 && found["pending"] == 0).await;
    assert_eq!(admin.submit(&format!("{page}/test"), &[]).await.status, 303);
    receiver.until(3).await;
    let change = format!("{page}/change");
    let moved = receiver.url.replace("/hook", "/moved");
    let fields = [
        ("url", moved.as_str()),
        ("description", "the shop"),
        ("events", "order.paid\norder.closed"),
        ("reason", "a new host"),
    ];
    assert_eq!(admin.submit(&change, &fields[..3]).await.status, 422, "without a reason");
    let refused = admin.submit(&change, &[("url", "http://10.0.0.1/"), fields[1], fields[2], fields[3]]).await;
    assert_eq!(refused.status, 422);
    refused.shows("not on the internet");
    assert!(refused.text.contains("value=\"http://10.0.0.1/\""), "what was entered is kept");
    let unknown = admin.submit(&change, &[fields[0], fields[1], ("events", "order.eaten"), fields[3]]).await;
    assert_eq!(unknown.status, 422);
    unknown.shows("order.eaten");
    assert_eq!(admin.submit_without_token(&change, &fields).await.status, 403);
    assert_eq!(get(&service, &endpoint).await["url"], receiver.url.as_str(), "nothing was changed");
    assert_eq!(admin.submit(&change, &fields).await.status, 303);
    let changed = get(&service, &endpoint).await;
    assert_eq!((&changed["url"], &changed["description"]), (&json!(moved), &json!("the shop")), "{changed}");
    assert_eq!(changed["events"].as_array().unwrap().len(), 2, "{changed}");
    let shown = admin.page(&page).await;
    assert!(shown.text.contains("order.paid\norder.closed</textarea>"), "the form has what the endpoint has");
    let disable = [("state", "disabled"), ("reason", "holidays")];
    assert_eq!(admin.submit(&format!("{page}/state"), &disable).await.status, 303);
    admin.page(&page).await.shows("goes on where it stopped");
    assert_eq!(get(&service, &endpoint).await["state"], "disabled");
    assert_eq!(admin.submit(&format!("{page}/rotate"), &[("reason", "a year")]).await.status, 200);
    assert_eq!(admin.submit(&format!("{page}/delete"), &[("reason", "moved")]).await.status, 303);
    assert_eq!(admin.get(&page).await.status, 404);
    assert_eq!(service.get("/v1/webhooks").await.1["webhooks"], json!([]));
    for action in ["create", "recover", "test", "change", "disable", "rotate", "delete"] {
        let rows = service.audited(&format!("webhook.{action}")).await;
        assert_eq!(rows.last().map(String::as_str), Some("done"), "{action}: {rows:?}");
    }
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_do_something_cannot() {
    let service = service().config("[console]\nenabled = true\n").in_process().await;
    let made = super::endpoint(&service, "http://127.0.0.1:9/", &[]).await;
    let page = format!("/console/webhooks/{}", made["id"].as_str().unwrap());
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    viewer.page(&page).await.hides("<form method=\"post\" action=\"/console/webhooks");
    let operator = User::log_in(&service, Role::Operator, None).await;
    for (user, end) in
        [(&viewer, "state"), (&viewer, "test"), (&viewer, "recover"), (&operator, "rotate"), (&operator, "change")]
    {
        let answer = user.submit(&format!("{page}/{end}"), &[("reason", "x"), ("state", "disabled")]).await;
        assert_eq!(answer.status, 403, "{end}");
    }
    assert_eq!(operator.submit(&format!("{page}/delete"), &[("reason", "x")]).await.status, 403);
    let stranger = User::log_in(&service, Role::Admin, Some(&["second"])).await;
    assert_eq!(stranger.get(&page).await.status, 404);
    stranger.page("/console/webhooks").await.hides("127.0.0.1:9");
    assert_eq!(stranger.submit(&format!("{page}/delete"), &[("reason", "x")]).await.status, 404);
    assert_eq!(get(&service, &made).await["state"], "enabled");
    service.finish().await;
}
