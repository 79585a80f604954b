//! What finance finds under "needs a person" on the first page.

use wxpay_worker::ops::reports::Month;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::service::InProcess;

impl InProcess {
    async fn run(&self, sql: &str) {
        self.store.db().execute("test", sql.to_owned(), []).await.unwrap();
    }

    /// An endpoint in a state, and since when it fails.
    async fn endpoint(&self, id: &str, state: &str, failing_since: &str) {
        let disabled = if state == "disabled" { "'gone', 1" } else { "NULL, NULL" };
        self.run(&format!(
            "INSERT INTO webhook_endpoints (id, merchant, url, description, event_types, secret, state, disabled_reason,
                                            disabled_at_ms, position, failing_since_ms, created_at_ms, created_by,
                                            updated_at_ms)
             VALUES ('{id}', 'main', 'https://shop.example.com/{id}?<b>', '', '[]', '', '{state}', {disabled}, 0,
                     {failing_since}, 1, 'test', 1)"
        ))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn red_days_missing_bills_months_and_webhooks_are_listed_with_their_pages() {
    let service = service().config("[reconcile]\nschedule = false\n").roles("ingress").in_process().await;
    let user = User::log_in(&service, Role::Operator, None).await;
    user.whole_overview(&service).await.shows("Nothing needs a person.");

    let now = service.clock.now();
    let day = |back: u64| now.before(std::time::Duration::from_secs(back * 24 * 3600)).to_beijing_day();
    for back in 3..9 {
        service
            .run(&format!(
                "INSERT INTO reconciliations (merchant, day, work, runs, run, asked_at_ms, differences, open_lines)
             VALUES ('main', '{}', 'idle', 1, 1, 1, {back}, {back})",
                day(back)
            ))
            .await;
    }
    for (back, state) in [(4, "waiting"), (5, "failed"), (6, "held"), (0, "waiting"), (200, "failed")] {
        service.run(&format!(
            "INSERT INTO bills (merchant, kind, day, state, asked_at_ms) VALUES ('main', 'trades', '{}', '{state}', 1)",
            day(back)
        ))
        .await;
    }
    service.endpoint("a-gone", "disabled", "NULL").await;
    service.endpoint("b-failing", "enabled", &(now.as_ms() - 601_000).to_string()).await;
    service.endpoint("c-interrupted", "enabled", &(now.as_ms() - 60_000).to_string()).await;
    service.endpoint("d-fine", "enabled", "NULL").await;
    service.skip(5);
    let page = user.whole_overview(&service).await;
    page.hides("Nothing needs a person.");
    for back in 3..8 {
        page.shows(&format!("main · {} · the bill differs, open lines {back}", day(back)));
        assert!(page.text.contains(&format!("href=\"/console/reconciliation/main/{}\"", day(back))), "{}", page.text);
    }
    page.hides(&format!("open lines {}", 8));
    page.shows("More days differ");
    page.shows(&format!("main · bills missing, days 2 · oldest {}", day(5)));
    page.shows("https://shop.example.com/a-gone?&#60;b&#62; · the receiver answered 410: disabled");
    page.shows("https://shop.example.com/b-failing?&#60;b&#62; · no delivery succeeds");
    page.hides("c-interrupted");
    page.hides("d-fine");
    assert!(page.text.contains("/console/webhooks/a-gone"));
    user.get_in_chinese("/console").await.shows("缺少账单的天数 2");
    let stranger = User::log_in(&service, Role::Operator, Some(&["other"])).await;
    stranger.whole_overview(&service).await.shows("Nothing needs a person.");

    // One part that cannot be read hides no other one.
    service.alter("ALTER TABLE bills RENAME TO bills_away").await;
    service.run("UPDATE webhook_endpoints SET state = 'enabled', disabled_reason = NULL, disabled_at_ms = NULL").await;
    service.skip(6);
    let page = user.overview_with(&service, &["Not read just now: as of 20", "bills missing, days 2"]).await;
    page.hides("a-gone");
    service.alter("ALTER TABLE bills_away RENAME TO bills").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_that_can_be_closed_is_offered_until_it_is() {
    let service = service().config("[reconcile]\nschedule = false\n").roles("ingress").in_process().await;
    let month = Month::of(service.clock.now()).unwrap().before().unwrap();
    let text = month.text.as_str();
    service.balance(&month).await;
    let first = format!("UPDATE reconciliations SET open_lines = 1, differences = 1 WHERE day = '{text}-01'");
    service.run(&first).await;
    let operator = User::log_in(&service, Role::Operator, None).await;
    operator.whole_overview(&service).await.hides("can be closed");
    service.run("UPDATE reconciliations SET open_lines = 0").await;
    service.skip(6);
    let offered = format!("main · {text} can be closed");
    operator.whole_overview(&service).await.shows(&offered);
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    let page = viewer.whole_overview(&service).await;
    page.shows(&offered);
    page.hides("/console/reconciliation/close");
    let fields = [("merchant", "main"), ("month", text), ("reason", "the month is over")];
    assert_eq!(operator.submit("/console/reconciliation/close", &fields).await.status, 303);
    service.skip(6);
    operator.whole_overview(&service).await.shows("Nothing needs a person.");
    service.finish().await;
}
