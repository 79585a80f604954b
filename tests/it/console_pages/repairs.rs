//! Repairs of a day, asking for days, and reopening a month, on the console: by right and merchant, with their effects.

use serde_json::json;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ops::reports::Month;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::service::{InProcess, MCH_ID};

const NOTIFICATIONS_ARE_LOST: &str = "WeChat's notification was dropped";

impl InProcess {
    /// Every day of a month as balanced.
    pub async fn balance(&self, month: &Month) {
        let mut at = month.begins_at;
        while at < month.ends_at {
            let sql = format!(
                "INSERT INTO reconciliations (merchant, day, work, runs, run, asked_at_ms)
                 VALUES ('main', '{}', 'idle', 1, 1, 1)",
                at.to_beijing_day()
            );
            self.store.db().execute("test", sql, []).await.unwrap();
            at = at.next_beijing_midnight();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reads_the_plan_repairs_a_lost_payment_and_explains_the_rest() {
    let service = service().in_process().await;
    let day = service.begin_day().await;
    service.paid("FE000001").await;
    service.plant(json!([{"kind": "fee", "number": "FE000001"}])).await;
    service.place("LO000001").await;
    let lost =
        json!([{"on": "notify", "kind": "drop", "times": null}, {"on": "orderquery", "kind": "drop", "times": null}]);
    service.faults(lost).await;
    service.pay("LO000001").await;
    service.end_day().await;
    assert_eq!(service.reconciled(&day).await["state"], "red");

    let path = format!("/console/reconciliation/main/{day}");
    let repair = format!("{path}/repair");
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    let page = viewer.page(&path).await;
    page.shows("missing here");
    page.shows("Trades: bill = books red");
    page.hides("/repair");
    page.hides("/ask");
    assert_eq!(viewer.get(&repair).await.status, 403);
    assert_eq!(viewer.submit(&repair, &[("reason", "I am a viewer")]).await.status, 403);
    assert_eq!(viewer.submit(&format!("{path}/ask"), &[]).await.status, 403);

    let operator = User::log_in(&service, Role::Operator, None).await;
    assert_eq!(operator.page(&path).await.link("Repair (1)"), repair);
    let plan = operator.page(&repair).await;
    for words in [
        "ask WeChat about the order 1",
        "The bill has a payment of this order that the books lack.",
        "LO000001",
        "These can only be explained by a note: fee 1",
    ] {
        plan.shows(words);
    }
    operator.get_in_chinese(&repair).await.shows("向微信查询该订单 1");
    let refused = operator.submit(&repair, &[("reason", " ")]).await;
    assert_eq!(refused.status, 422);
    refused.shows("A reason is required.");
    assert_eq!(operator.submit_without_token(&repair, &[("reason", "no token")]).await.status, 403);
    assert_eq!(service.number("SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.repair'").await, 0);

    service.clear_faults().await;
    let done = operator.submit(&repair, &[("reason", "the <b>notification</b> was lost")]).await;
    assert_eq!(done.status, 200);
    done.shows("asked 1");
    done.hides("<b>notification</b>");
    service.until_state("LO000001", "paid").await;
    service.until_idle().await;
    assert_eq!(service.events("LO000001").await.iter().filter(|event| *event == "order.paid").count(), 1);
    let audited = "SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.repair' AND actor = 'operator-false'";
    assert_eq!(service.number(audited).await, 1);

    service.until_compared(&day).await;
    let operator = User::log_in(&service, Role::Operator, None).await;
    assert_eq!(operator.submit(&format!("{path}/ask"), &[]).await.status, 303);
    let after = service.until_compared(&day).await;
    assert_eq!((&after["state"], &after["open"]), (&json!("red"), &json!(1)), "the fee is left: {after}");
    let operator = User::log_in(&service, Role::Operator, None).await;
    operator.page(&path).await.hides(&format!("{repair}\""));
    operator.page(&repair).await.shows("There is nothing to repair.");
    let line = service.number("SELECT MAX(id) FROM reconciliation_lines WHERE resolution = 'open'").await;
    let note = [("note", "a promotion of <script>WeChat</script>")];
    assert_eq!(operator.submit(&format!("{path}/lines/{line}"), &note).await.status, 303);
    let page = operator.page(&path).await;
    page.shows("explained");
    page.shows("fee Fees ¥0.02 · should be ¥0.01");
    page.hides("<script>WeChat");
    service.leave_books_open("the bill's fee is wrong");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_of_no_order_is_entered_and_the_page_says_what_wechat_refuses() {
    let service = service().in_process().await;
    let day = service.begin_day().await;
    service.faults(json!([{"on": "notify", "kind": "drop", "times": null}])).await;
    service.sold_elsewhere("LOST000001", json!({"mch_id": MCH_ID})).await;
    service.plant(json!([{"kind": "extra", "out_trade_no": "GHOST00001", "day": day, "total_fee": 77}])).await;
    service.end_day().await;
    service.reconciled(&day).await;
    let path = format!("/console/reconciliation/main/{day}");
    let operator = User::log_in(&service, Role::Operator, None).await;
    operator.page(&path).await.shows("GHOST00001");
    operator.page(&format!("{path}/repair")).await.shows("ask WeChat, enter a payment of no order 2");
    let one = service.number("SELECT id FROM reconciliation_lines WHERE out_trade_no = 'GHOST00001'").await.to_string();
    let plan = operator.page(&format!("{path}/repair?line={one}")).await;
    plan.shows("GHOST00001");
    plan.hides("LOST000001");
    let ghost = operator.submit(&format!("{path}/repair"), &[("reason", "what is it?"), ("line", &one)]).await;
    ghost.shows("failed 1");
    ghost.shows("not repaired: WeChat");
    assert_eq!(service.number("SELECT COUNT(*) FROM payments").await, 0, "a bill moves no money");
    let done = operator.submit(&format!("{path}/repair"), &[("reason", "lost")]).await;
    done.shows("entered 1");
    assert_eq!(service.number("SELECT COUNT(*) FROM payments WHERE class = 'unmatched'").await, 1);
    let stranger = User::log_in(&service, Role::Operator, Some(&["other"])).await;
    assert_eq!(stranger.get(&format!("{path}/repair")).await.status, 404);
    assert_eq!(stranger.submit(&format!("{path}/repair"), &[("reason", "mine")]).await.status, 404);
    assert_eq!(stranger.submit(&format!("{path}/ask"), &[]).await.status, 404);
    service.until_compared(&day).await;
    service.leave_unfinished(NOTIFICATIONS_ARE_LOST);
    service.leave_books_open("the payment is of no order, and the bill has one that is not");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_a_day_shows_how_far_its_repair_is_and_stops_it() {
    let service = service().in_process().await;
    let day = service.begin_day().await;
    service.red_day(&day, 620).await;
    service.enter_all_lines().await;
    service.until_repairs_rest().await;
    let path = format!("/console/reconciliation/main/{day}");
    let (viewer, operator) =
        (User::log_in(&service, Role::Viewer, None).await, User::log_in(&service, Role::Operator, None).await);
    operator.page(&path).await.hides("/repair/stop");
    let stop = format!("{path}/repair/stop");
    assert_eq!(operator.submit(&stop, &[("reason", "none was made")]).await.status, 404);
    let repair = format!("{path}/repair");
    let plan = operator.page(&repair).await;
    for words in ["the first 500", "Repair (620)", "620 lines the first 50"] {
        plan.shows(words);
    }
    let refused = operator.submit(&repair, &[("reason", "lost"), ("count", "500")]).await;
    assert_eq!(refused.status, 422, "{}", refused.words());
    let done = operator.submit(&repair, &[("reason", "lost"), ("count", "620")]).await;
    assert_eq!(done.status, 200, "{}", done.words());
    // Fifty at most: on a busy machine the request's time may be over before.
    let lines = service.number("SELECT done FROM reconciliation_repairs").await;
    assert!((1..=50).contains(&lines), "{lines}");
    let through = format!("Lines processed {lines} / 620");
    let page = operator.page(&path).await;
    page.shows("running");
    page.shows(&through);
    page.shows("Stop the repair");
    let seen = viewer.page(&path).await;
    seen.shows(&through);
    seen.hides("/repair/stop");
    assert_eq!(viewer.submit(&stop, &[("reason", "I am a viewer")]).await.status, 403);
    assert_eq!(operator.submit_without_token(&stop, &[("reason", "no token")]).await.status, 403);
    operator.submit(&stop, &[("reason", " ")]).await;
    assert_eq!(service.audited("reconciliation.stop").await, [""; 0], "nothing was stopped");
    assert_eq!(operator.submit(&stop, &[("reason", "the wrong day")]).await.status, 303);
    let page = operator.page(&path).await;
    page.shows("Stopped by operator-false");
    page.hides("/repair/stop");
    assert_eq!(operator.submit(&stop, &[("reason", "again")]).await.status, 303);
    assert_eq!(service.audited("reconciliation.stop").await, ["done", "repeated"]);
    service.leave_books_open("payments that the test wrote");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_and_a_month_without_a_bill_are_asked_for() {
    let service = service().config("[reconcile]\nschedule = false\n").in_process().await;
    let day = service.begin_day().await;
    service.paid("AS000001").await;
    service.end_day().await;
    let path = format!("/console/reconciliation/main/{day}");
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    let page = viewer.page(&path).await;
    page.shows("The bill of this day has not been fetched.");
    page.hides("/ask");
    let operator = User::log_in(&service, Role::Operator, None).await;
    operator.page(&path).await.shows("Fetch the bill and compare");
    let today = service.clock.now().to_beijing_day();
    let ahead = operator.page(&format!("/console/reconciliation/main/{today}")).await;
    ahead.shows("not due");
    ahead.hides("/ask");
    assert_eq!(operator.submit(&format!("{path}/ask"), &[]).await.status, 303);
    service.until_compared(&day).await;
    let operator = User::log_in(&service, Role::Operator, None).await;
    let page = operator.page(&path).await;
    for words in ["balanced", "Trades: bill = books holds", "Requested by operator-false", "no fund-flow bill"] {
        page.shows(words);
    }
    for nothing in ["2026-02-30", "20260101", "x"] {
        assert_eq!(operator.get(&format!("/console/reconciliation/main/{nothing}")).await.status, 404, "{nothing}");
    }

    let month = &day[..7];
    let form = [("merchant", "main"), ("month", month)];
    assert_eq!(viewer.submit("/console/reconciliation/ask", &form).await.status, 403);
    assert_eq!(operator.submit("/console/reconciliation/ask", &form).await.status, 303);
    // All days up to that one: it is yesterday.
    let days: i64 = day[8..].parse().unwrap();
    assert_eq!(service.number("SELECT COUNT(*) FROM reconciliations WHERE merchant = 'main'").await, days);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_month_is_closed_after_its_preview_and_reopened_by_an_administrator() {
    let service = service().in_process().await;
    let month = Month::of(service.clock.now()).unwrap();
    service.balance(&month).await;
    service.skip_to(Timestamp::from_ms(month.ends_at.as_ms() + 11 * 3600 * 1000));
    let text = month.text.as_str();
    let close = format!("/console/reconciliation/close?merchant=main&month={text}");
    let first = format!("{text}-01");
    let fields = [("merchant", "main"), ("month", text), ("reason", "the month is over")];
    let operator = User::log_in(&service, Role::Operator, None).await;
    let red = format!("UPDATE reconciliations SET open_lines = 2, differences = 2 WHERE day = '{first}'");
    service.store.db().execute("test", red, []).await.unwrap();
    let preview = operator.page(&close).await;
    preview.shows(&format!("These days must be settled first: {first} red"));
    preview.hides("name=\"reason\"");
    let refused = operator.submit("/console/reconciliation/close", &fields).await;
    assert_eq!(refused.status, 422);
    refused.shows(&format!("These days are neither balanced nor explained: {first}"));
    let mended = format!("UPDATE reconciliations SET open_lines = 0 WHERE day = '{first}'");
    service.store.db().execute("test", mended, []).await.unwrap();
    operator.page(&close).await.shows("The figures of its days are frozen.");
    assert_eq!(operator.submit("/console/reconciliation/close", &fields).await.status, 303);
    let calendar = format!("/console/reconciliation?month={text}");
    let page = operator.page(&calendar).await;
    page.shows("closed");
    page.hides("/reopen");
    assert_eq!(operator.get(&format!("/console/reconciliation/reopen?merchant=main&month={text}")).await.status, 403);
    assert_eq!(operator.submit("/console/reconciliation/reopen", &fields).await.status, 403);

    let admin = User::log_in(&service, Role::Admin, None).await;
    let reopen = admin.page(&calendar).await.link("Reopen");
    admin.page(&reopen).await.shows("The closing stays on record.");
    assert_eq!(admin.submit("/console/reconciliation/reopen", &fields).await.status, 303);
    admin.page(&calendar).await.shows("Was closed and reopened");
    assert_eq!(service.number("SELECT COUNT(*) FROM period_closings WHERE reopened_by = 'admin-false'").await, 1);
    service.finish().await;
}
