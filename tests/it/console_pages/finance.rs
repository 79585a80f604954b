//! The ledger, the calendar of the reconciliation, months and files, by right and merchant.

use std::time::Duration;

use wxpay_worker::store::Role;

use super::service;
use super::user::User;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn finance_sees_a_day_a_month_and_takes_files_away() {
    let service = service().in_process().await;
    service.skip_to(service.clock.now().next_beijing_midnight());
    service.skip(3600);
    service.paid("FIN00001").await;
    let day = service.clock.now().to_beijing_day();
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    let ledger = viewer.page("/console/ledger").await;
    for words in [day.as_str(), "FIN00001", "¥1.00", "Opening", "Closing", "credited"] {
        ledger.shows(words);
    }
    ledger.hides("format=xlsx");
    let calendar = viewer.page("/console/reconciliation").await;
    for words in [day.as_str(), "main", "¥1.00", "not due"] {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_a_proof_and_an_open_line_is_explained_by_a_note() {
    let service = service().in_process().await;
    let day = service.clock.now().to_beijing_day();
    for sql in [
        format!(
            "INSERT INTO reconciliations (merchant, day, work, runs, run, asked_at_ms, bill_payments, bill_payments_fen,
                                          bill_fees, ledger_payments, ledger_payments_fen, differences,
                                          difference_fen, open_lines, loops)
             VALUES ('main', '{day}', 'idle', 1, 1, 1, 3, 1300, 780000, 2, 1000, 1, 300, 1,
                     '{{\"trades\":{{\"holds\":false}}}}')"
        ),
        format!(
            "INSERT INTO reconciliation_lines (merchant, day, run, line_key, class, kind, transaction_id, out_trade_no,
                                               bill_fen, bill_currency, explains_fen, resolution)
             VALUES ('main', '{day}', 1, 'k1', 'missing_here', 'payment', '4200009', '<b>NUMBER</b>', 300, 'CNY', 300,
                     'open')"
        ),
    ] {
        service.store.db().execute("test", sql, []).await.unwrap();
    }
    let path = format!("/console/reconciliation/main/{day}");
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    let page = viewer.page(&path).await;
    for words in ["¥13.00", "missing here", "−¥3.00", "¥10.00", "¥7.80", "4200009", "red"] {
        page.shows(words);
    }
    page.shows("Trades: bill = books red");
    let month = format!("/console/reconciliation?merchant=main&month={}", &day[..7]);
    assert_eq!(page.link("Back to the month"), month);
    page.hides("name=\"note\"");
    viewer.page(&format!("{path}?class=fee")).await.shows("No line differs.");
    viewer.page("/console/reconciliation").await.shows("red");
    let line = service.number("SELECT id FROM reconciliation_lines").await;
    let resolve = format!("{path}/lines/{line}");
    assert_eq!(viewer.submit(&resolve, &[("note", "a shop of another system")]).await.status, 403);

    let operator = User::log_in(&service, Role::Operator, None).await;
    assert_eq!(operator.submit(&resolve, &[("note", "a shop of another system")]).await.status, 303);
    let page = operator.page(&path).await;
    page.shows("a shop of another system");
    page.shows("explained");
    page.shows("Trades: bill = books holds");
    page.hides("name=\"note\"");
    assert_eq!(operator.submit(&resolve, &[("note", "once more")]).await.status, 303);
    assert_eq!(service.number("SELECT open_lines FROM reconciliations").await, 0);
    let audited = "SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.resolve' AND result = 'done'";
    assert_eq!(service.number(audited).await, 1);
    let other = User::log_in(&service, Role::Operator, Some(&["other"])).await;
    assert_eq!(other.get(&path).await.status, 404);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_whose_bill_is_gone_is_explained_by_those_who_close_months() {
    let service = service().in_process().await;
    let back = |days: u64| service.clock.now().before(Duration::from_secs(days * 24 * 3600)).to_beijing_day();
    let (day, recent) = (back(120), back(2));
    let path = format!("/console/reconciliation/main/{day}");
    let explain = format!("{path}/explain");
    let note = [("note", "compared by hand")];
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    viewer.page(&path).await.hides("name=\"note\"");
    assert_eq!(viewer.submit(&explain, &note).await.status, 403);

    let operator = User::log_in(&service, Role::Operator, None).await;
    operator.page(&path).await.shows("WeChat no longer has the bill of this day.");
    assert_eq!(operator.submit(&explain, &[("note", "")]).await.status, 303, "a note is required");
    // Of this one WeChat has the bill.
    operator.page(&format!("/console/reconciliation/main/{recent}")).await.hides("name=\"note\"");
    let other = format!("/console/reconciliation/main/{recent}/explain");
    assert_eq!(operator.submit(&other, &note).await.status, 303);
    assert_eq!(service.number("SELECT COUNT(*) FROM reconciliations WHERE explained_run IS NOT NULL").await, 0);

    assert_eq!(operator.submit(&explain, &note).await.status, 303);
    let page = operator.page(&path).await;
    page.shows("compared by hand");
    page.shows("Explained as a whole");
    page.hides("name=\"note\"");
    operator.page(&format!("/console/reconciliation?month={}", &day[..7])).await.shows("as a whole");
    let close = format!("/console/reconciliation/close?merchant=main&month={}", &day[..7]);
    operator.page(&close).await.shows(&format!("Days explained as a whole {day}"));
    let audited = "SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.explain' AND result = 'done'";
    assert_eq!(service.number(audited).await, 1);
    service.finish().await;
}
