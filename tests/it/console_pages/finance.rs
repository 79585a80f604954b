//! The ledger, the calendar of the reconciliation, months and files, by right and merchant.

use wxpay_worker::store::Role;

use super::service;
use super::user::User;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finance_sees_a_day_a_month_and_takes_files_away() {
    let service = service().in_process().await;
    service.skip_to(service.clock.now().next_beijing_midnight());
    service.paid("FIN00001").await;
    let day = service.clock.now().to_beijing_day();
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    let ledger = viewer.page("/console/ledger").await;
    for words in [day.as_str(), "FIN00001", "¥1.00", "Opening", "Closing", "credited"] {
        ledger.shows(words);
    }
    ledger.hides("format=xlsx");
    let calendar = viewer.page("/console/reconciliation").await;
    for words in [day.as_str(), "main", "¥1.00", "missing"] {
        calendar.shows(words);
    }
    calendar.hides("/console/reconciliation/close");
    assert_eq!(viewer.get("/console/ledger/export").await.status, 403);
    assert_eq!(viewer.get("/console/reconciliation/export").await.status, 403);
    assert_eq!(viewer.get("/console/reconciliation/lines").await.status, 403);
    assert_eq!(viewer.get("/console/reconciliation/close").await.status, 403);

    let operator = User::log_in(&service, Role::Operator, None).await;
    operator.page("/console/ledger").await.shows("Export XLSX");
    for path in ["/console/ledger/export", "/console/reconciliation/export", "/console/reconciliation/lines"] {
        assert_eq!(operator.get(&format!("{path}?format=csv")).await.status, 200, "{path}");
    }
    assert!(operator.get("/console/ledger/export?format=csv").await.text.contains("FIN00001"));
    assert_eq!(operator.get("/console/ledger/export?format=pdf").await.status, 404);
    let audited = "SELECT COUNT(*) FROM audit WHERE action IN ('ledger.export', 'reconciliation.export')";
    assert_eq!(service.number(audited).await, 3);
    let other = User::log_in(&service, Role::Operator, Some(&["other"])).await;
    assert_eq!(other.get("/console/ledger?merchant=main").await.status, 404);
    assert_eq!(other.get("/console/ledger").await.status, 404);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_with_open_days_is_not_closed_and_the_page_names_them() {
    let service = service().in_process().await;
    let month = service.clock.now().to_beijing_day()[..7].to_owned();
    let operator = User::log_in(&service, Role::Operator, None).await;
    let form = format!("/console/reconciliation/close?merchant=main&month={month}");
    operator.page(&form).await.shows("Close the month");
    let fields = |reason: &'static str| vec![("merchant", "main"), ("month", month.as_str()), ("reason", reason)];
    let answer = operator.submit("/console/reconciliation/close", &fields("")).await;
    assert_eq!(answer.status, 422);
    answer.shows("A reason is required.");
    let answer = operator.submit("/console/reconciliation/close", &fields("it is over")).await;
    assert_eq!(answer.status, 422);
    answer.shows("The month is not over.");
    assert_eq!(service.number("SELECT COUNT(*) FROM period_closings").await, 0);
    service.finish().await;
}
