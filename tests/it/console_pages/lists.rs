//! Lists: filters survive paging, pages stay small, other merchants' rows are not there, texts are escaped.

use std::time::Duration;

use wxpay_worker::store::{JobOutcome, JobRun, Role};

use super::service;
use super::user::User;
use crate::harness::service::{SECOND_MERCHANT, jsapi};

/// One page of orders, and some.
const ORDERS: usize = 55;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_survive_paging_and_hide_the_rows_of_other_merchants() {
    let service = service().second_account().config(SECOND_MERCHANT).in_process().await;
    for n in 0..ORDERS {
        let mut order = jsapi(&format!("L{n:06}"), 100);
        order["merchant"] = "main".into();
        order["description"] = "x".repeat(120).into();
        service.place_as(&order).await;
    }
    let user = User::log_in(&service, Role::Viewer, None).await;
    let first = user.page("/console/orders?state=payable&min=1.00&max=1").await;
    assert_eq!(first.text.matches("data-href=").count(), 50);
    let older = first.link("Older");
    assert!(older.contains("state=payable&min=1.00&max=1&after="), "{older}");
    let second = user.page(&older).await;
    assert_eq!(second.text.matches("data-href=").count(), ORDERS - 50);
    assert_eq!(second.link("Newest"), "/console/orders?state=payable&min=1.00&max=1");
    user.page("/console/orders?min=1.01").await.shows("No orders match these filters.");
    // By a number: its page; by the beginning of several: the list.
    assert_eq!(user.get("/console/orders?q=L000007").await.location, "/console/orders/main/L000007");
    assert_eq!(user.page("/console/orders?q=L00000").await.text.matches("data-href=").count(), 10);

    let limited = User::log_in(&service, Role::Operator, Some(&["second"])).await;
    limited.page("/console/orders").await.hides("L0000");
    limited.page("/console/orders?q=L000007").await.hides("/console/orders/main/L000007");
    assert_eq!(limited.get("/console/orders?merchant=main").await.status, 404);
    for path in ["", "/close", "/refund?transaction_id=42", "/accept?transaction_id=42"] {
        assert_eq!(limited.get(&format!("/console/orders/main/L000007{path}")).await.status, 404, "{path}");
    }
    let path = "/console/orders/main/L000007/close";
    assert_eq!(limited.submit(path, &[("reason", "not mine")]).await.status, 404);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_job_says_of_merchants_is_for_those_who_see_them_all() {
    let service = service().second_account().config(SECOND_MERCHANT).in_process().await;
    let (name, now) = ("of_this_test", service.clock.now());
    let later = now.after(Duration::from_secs(3600));
    service.store.register_job(name, "0 7 * * * *", 600_000, now, later).await.unwrap();
    let lease = service.store.lease(name, "4711-abc", Duration::from_secs(60)).await.unwrap().unwrap();
    let detail = Some("main 2026-02-28: WeChat does not answer".into());
    let run = JobRun { started_at: now, ended_at: now, outcome: JobOutcome::Failed, done: 1, detail };
    service.store.report_job(&lease, None, &run, later).await.unwrap();
    let all = User::log_in(&service, Role::Operator, None).await;
    all.page("/console/jobs").await.shows("main 2026-02-28: WeChat does not answer");
    let limited = User::log_in(&service, Role::Operator, Some(&["second"])).await;
    let page = limited.page("/console/jobs").await;
    page.shows(name);
    page.hides("2026-02-28: WeChat");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_callers_are_escaped_everywhere() {
    let service = service().in_process().await;
    let evil = "<script>alert(1)</script>\"'><img src=x>";
    let mut order = jsapi("X100001", 100);
    order["description"] = evil.into();
    order["attach"] = evil.into();
    service.place_as(&order).await;
    service.pay("X100001").await;
    service.until_state("X100001", "paid").await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let id = service.number("SELECT COUNT(*) FROM notifications").await;
    assert_eq!(id, 1);
    let (_, archive) = service.get("/v1/ops/notifications").await;
    let notification = format!("/console/notifications/{}", archive["notifications"][0]["id"].as_str().unwrap());
    let searched =
        format!("/console/orders?q={}", url::form_urlencoded::byte_serialize(evil.as_bytes()).collect::<String>());
    let planned = [("kind", "event"), ("reason", evil), ("order_no", "X100001")];
    let replay = user.submit("/console/replays", &planned).await.location;
    let paths =
        ["/console/orders", "/console/orders/main/X100001", &notification, &searched, &replay, "/console/replays"];
    for path in paths {
        let page = user.page(path).await;
        page.hides("<script>alert");
        page.hides("<img src=x");
        assert!(page.text.contains("&#60;script&#62;alert(1)"), "{path} shows it: {}", page.words());
    }
    service.finish().await;
}
