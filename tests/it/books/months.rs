//! Months: closed in their order, figures frozen, and what is recorded later counts in the open month.

use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::ops::reports::{Month, frozen_or_now, ledger_page, period};
use wxpay_worker::ops::users::local_operator;
use wxpay_worker::store::{BookRange, NewClosing, PeriodChange};

use crate::ctl::support::{run, wxpayctl};
use crate::harness::service::{API_KEY, InProcess, TestService};
use crate::harness::store::TestStore;
use crate::keys::{ADMIN, with_admin};
use crate::settling::on_both;

pub(super) fn main() -> MerchantKey {
    MerchantKey::parse("main").unwrap()
}

pub(super) fn at(text: &str) -> Timestamp {
    Timestamp::parse_beijing_spaced(text).unwrap()
}

/// Money of no order that WeChat took at one time and that was recorded at another.
pub(super) async fn taken(stage: &TestStore, number: &str, fen: i64, (paid, recorded): (&str, &str)) {
    let (paid, recorded) = (at(paid).as_ms(), at(recorded).as_ms());
    let sql = format!(
        "INSERT INTO payments (merchant, transaction_id, version, class, out_trade_no, mch_id, appid, amount_fen,
                               currency, paid_at_ms, recorded_at_ms, updated_at_ms)
         VALUES ('main', '{number}', 1, 'unmatched', 'N{number}', 'm', 'a', {fen}, 'CNY', {paid}, {recorded}, 1);
         INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen, currency,
                             occurred_at_ms, recorded_at_ms, to_class, payment_version)
         VALUES ('main', 0, 'N{number}', 'payment', '{number}', {fen}, 'CNY', {paid}, {recorded}, 'unmatched', 1)"
    );
    stage.execute(&sql).await.unwrap();
}

/// A closing with the figures of this moment.
pub(super) async fn closing(stage: &TestStore, month: &str, closed_at: &str) -> NewClosing {
    let month = Month::parse(month).unwrap();
    let refund_moves = stage.store.refund_moves(&main()).await.unwrap();
    let figures = period(&stage.store, &main(), month.clone(), at(closed_at)).await.unwrap().figures;
    NewClosing {
        merchant: main(),
        month_before: month.before().unwrap().text,
        month: month.text,
        closed_at: at(closed_at),
        cut_at: at(closed_at),
        refund_moves,
        hash: wxpay_worker::secret::sha256_hex(figures.get().as_bytes()),
        figures: figures.get().to_owned(),
        audit: local_operator().audit("period.close", "the month is over".to_owned(), at(closed_at)),
    }
}

pub(super) async fn close(stage: &TestStore, month: &str, closed_at: &str) -> PeriodChange {
    stage.store.close_period(closing(stage, month, closed_at).await).await.unwrap()
}

pub(super) async fn reopen(stage: &TestStore, month: &str) -> PeriodChange {
    let audit = local_operator().audit("period.reopen", "a bill came late".to_owned(), at("2026-12-20 00:00:00"));
    stage.store.reopen_period(&main(), month, audit).await.unwrap()
}

impl InProcess {
    /// Days of a month that WeChat no longer has: the 12th failed without a result, the 13th after one, the 14th was
    /// never asked for, the 15th has a remainder, the 16th an open line. The others are balanced.
    async fn old_days(&self, month: &Month) {
        let mut at = month.begins_at;
        while at < month.ends_at {
            let day = at.to_beijing_day();
            let (run, error, left, open) = match &day[8..] {
                "12" => (0, "'the bill is not usable'", 0, 0),
                "13" => (1, "'the bill is not usable'", 0, 0),
                "15" => (1, "NULL", -100, 0),
                "16" => (1, "NULL", 0, 1),
                _ => (1, "NULL", 0, 0),
            };
            if &day[8..] != "14" {
                self.run_sql(&format!(
                    "INSERT INTO reconciliations (merchant, day, work, runs, run, error, unexplained_fen, open_lines,
                                                  differences, asked_at_ms)
                     VALUES ('main', '{day}', 'idle', 3, {run}, {error}, {left}, {open}, {open}, 1)"
                ))
                .await;
            }
            at = at.next_beijing_midnight();
        }
    }
}

on_both! {
    async fn what_is_recorded_after_a_closing_counts_in_the_open_month(db: TestDb) {
        let stage = TestStore::open(db).await;
        taken(&stage, "1", 100, ("2026-10-05 10:00:00", "2026-10-05 10:00:01")).await;
        taken(&stage, "2", 200, ("2026-10-31 23:59:59", "2026-11-01 00:00:02")).await;
        assert_eq!(close(&stage, "2026-10", "2026-11-02 11:00:00").await, PeriodChange::Done);
        assert_eq!(close(&stage, "2026-10", "2026-11-02 11:00:00").await, PeriodChange::Already);
        let october = || Month::parse("2026-10").unwrap();
        let now = at("2026-11-20 00:00:00");
        let before = period(&stage.store, &main(), october(), now).await.unwrap();
        taken(&stage, "3", 4000, ("2026-10-07 08:00:00", "2026-11-09 09:00:00")).await;
        taken(&stage, "4", 8, ("2026-11-09 08:00:00", "2026-11-09 09:00:01")).await;

        // Frozen, with the hash of these very bytes.
        let frozen = period(&stage.store, &main(), october(), now).await.unwrap();
        assert_eq!(frozen.figures.get(), before.figures.get());
        let closing = frozen.closing.unwrap();
        assert_eq!(closing.hash, wxpay_worker::secret::sha256_hex(frozen.figures.get().as_bytes()));
        let figures: serde_json::Value = serde_json::from_str(frozen.figures.get()).unwrap();
        assert_eq!((&figures["payments"], &figures["payments_fen"]), (&json!(2), &json!(300)));
        assert_eq!(figures["days"].as_array().unwrap().len(), 31);
        assert!(frozen.adjustments.is_empty());
        let october = october();
        let days = frozen_or_now(&stage.store, &main(), (october.begins_at, october.ends_at), now).await.unwrap();
        assert_eq!(days[6].payments_fen, 0, "the report of a closed month is the closed one: {:?}", days[6]);

        // The fact is in the open month, with its day.
        let november = period(&stage.store, &main(), Month::parse("2026-11").unwrap(), now).await.unwrap();
        let adjusts: Vec<_> = november.adjustments.iter().map(|a| (a.adjusts.as_str(), a.amount_fen)).collect();
        assert_eq!(adjusts, [("2026-10-07", 4000)]);
        let range = BookRange { merchant: main(), from: Timestamp::from_ms(0), to: now };
        let lines = ledger_page(&stage.store, &range, None, 10).await.unwrap().lines;
        let periods: Vec<_> = lines
            .iter()
            .map(|line| (&*line.row.transaction_id, &*line.period.month, line.period.adjusts.as_deref()))
            .collect();
        let expected = [
            ("1", "2026-10", None),
            ("2", "2026-10", None),
            ("3", "2026-11", Some("2026-10-07")),
            ("4", "2026-11", None),
        ];
        assert_eq!(periods, expected);
    }

    async fn a_closed_month_is_not_summed_again(db: TestDb) {
        let stage = TestStore::open(db).await;
        taken(&stage, "1", 100, ("2026-10-05 10:00:00", "2026-10-05 10:00:01")).await;
        taken(&stage, "2", 20, ("2026-09-30 10:00:00", "2026-09-30 10:00:01")).await;
        taken(&stage, "3", 3, ("2026-11-01 10:00:00", "2026-11-01 10:00:01")).await;
        assert_eq!(close(&stage, "2026-10", "2026-11-02 11:00:00").await, PeriodChange::Done);
        let now = at("2026-11-20 00:00:00");
        let days = async |from: &str, to: &str| frozen_or_now(&stage.store, &main(), (at(from), at(to)), now).await;
        let around = days("2026-09-29 00:00:00", "2026-11-03 00:00:00").await.unwrap();
        let paid: Vec<_> =
            around.iter().filter(|day| day.payments > 0).map(|day| (day.day.as_str(), day.payments_fen)).collect();
        assert_eq!(paid, [("2026-09-30", 20), ("2026-10-05", 100), ("2026-11-01", 3)]);
        assert_eq!((around.len(), around[0].day.as_str(), around[34].day.as_str()), (35, "2026-09-29", "2026-11-02"));
        // What sums the payments up fails.
        stage.execute("ALTER TABLE payments RENAME TO payments_away").await.unwrap();
        let october = days("2026-10-01 00:00:00", "2026-11-01 00:00:00").await;
        let month = period(&stage.store, &main(), Month::parse("2026-10").unwrap(), now).await;
        let later = days("2026-10-01 00:00:00", "2026-11-02 00:00:00").await;
        stage.execute("ALTER TABLE payments_away RENAME TO payments").await.unwrap();
        assert_eq!(october.unwrap(), &around[2..33]);
        assert_eq!(month.unwrap().days, &around[2..33]);
        assert!(later.is_err(), "a day of November");
    }

    async fn months_are_closed_in_their_order_and_reopened_in_the_other(db: TestDb) {
        let stage = TestStore::open(db).await;
        taken(&stage, "1", 100, ("2026-10-05 10:00:00", "2026-10-05 10:00:01")).await;
        assert_eq!(close(&stage, "2026-10", "2026-11-02 11:00:00").await, PeriodChange::Done);
        let last = |last: &str| PeriodChange::OutOfOrder { last: last.to_owned() };
        assert_eq!(close(&stage, "2026-12", "2027-01-02 11:00:00").await, last("2026-10"));
        assert_eq!(close(&stage, "2026-09", "2027-01-02 11:00:00").await, last("2026-10"));
        assert_eq!(close(&stage, "2026-11", "2026-12-02 11:00:00").await, PeriodChange::Done);
        assert_eq!(reopen(&stage, "2026-10").await, last("2026-11"));
        assert_eq!(reopen(&stage, "2026-11").await, PeriodChange::Done);
        assert_eq!(reopen(&stage, "2026-11").await, PeriodChange::Already);
        assert_eq!(reopen(&stage, "2026-10").await, PeriodChange::Done);
        assert_eq!(close(&stage, "2026-10", "2026-12-21 11:00:00").await, PeriodChange::Done);
        let closings = stage.store.period_closings(None, Some("2026-10"), 10).await.unwrap();
        let reopened: Vec<bool> = closings.iter().map(|closing| closing.reopened.is_some()).collect();
        assert_eq!(reopened, [false, true], "both closings are kept");
        assert_eq!(stage.count("audit WHERE action LIKE 'period.%'").await, 5);
        for change in [
            "UPDATE period_closings SET figures = '{}'",
            "UPDATE period_closings SET hash = ''",
            "DELETE FROM period_closings",
        ] {
            let error = stage.execute(change).await.unwrap_err().to_string();
            assert!(error.contains("a closed month does not change"), "{change}: {error}");
        }
    }

    async fn a_month_with_open_days_is_not_closed_and_the_days_are_named(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let month = Month::of(service.clock.now()).unwrap();
        let path = |verb: &str| format!("/v1/periods/main/{}/{verb}", month.text);
        let body = json!({"reason": "the month is over"});
        let (status, problem) = service.post(&path("close"), &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("period_not_over")), "{problem}");
        service.skip_to(Timestamp::from_ms(month.ends_at.as_ms() + 11 * 3600 * 1000));
        let (status, problem) = service.post(&path("close"), &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("period_open_days")), "{problem}");
        let days = problem["days"].as_array().unwrap();
        assert_eq!((&days[0]["day"], &days[0]["state"]), (&json!(format!("{}-01", month.text)), &json!("missing")));
        let (status, problem) = service.post(&path("close"), &json!({})).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "a reason is required: {problem}");
        assert_eq!(service.post(&path("reopen"), &body).await.0, 403, "reopening needs the scope admin");
        for bad in ["2026-13", "2026-1", "26-01", "2026-00", "abcd-ef"] {
            assert_eq!(service.get(&format!("/v1/periods/main/{bad}")).await.0, 400, "{bad}");
        }
        assert_eq!(service.get(&format!("/v1/periods/none/{}", month.text)).await.0, 404);
        let (_, open) = service.get(&format!("/v1/periods/main/{}", month.text)).await;
        assert_eq!(open["state"], json!("open"));
        let next = Month::of(service.clock.now()).unwrap();
        let (_, under_way) = service.get(&format!("/v1/periods/main/{}", next.text)).await;
        let days = under_way["figures"]["days"].as_array().unwrap();
        assert!(days.iter().all(|day| day["state"] == "not_due"), "nothing of a month that began is missed: {days:?}");
        let (_, list) = service.get("/v1/periods").await;
        assert_eq!(list, json!({"periods": []}));
        let refused = "SELECT COUNT(*) FROM audit WHERE action = 'period.close'
                       AND result IN ('not_over', 'open_days') AND actor = 'test'";
        assert_eq!(service.number(refused).await, 2);
        service.finish().await;
    }

    async fn a_day_that_wechat_no_longer_has_can_be_explained(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let now = service.clock.now();
        let month = Month::of(now.before(Duration::from_secs(150 * 24 * 3600))).unwrap();
        service.old_days(&month).await;
        let close = format!("/v1/periods/main/{}/close", month.text);
        let reason = json!({"reason": "the month is over"});
        let (status, problem) = service.post(&close, &reason).await;
        let open = |n: usize, state: &str| json!({"day": format!("{}-{n}", month.text), "state": state});
        let days = json!([open(12, "failed"), open(14, "missing"), open(15, "red"), open(16, "red")]);
        assert_eq!((status, &problem["days"]), (409, &days), "the 13th is as its result was: {problem}");

        let path = |n: usize| format!("/v1/reconciliations/main/{}-{n}", month.text);
        let note = json!({"note": "compared by hand"});
        let explain = async |n: usize, body: &Value| service.post(&format!("{}/explain", path(n)), body).await;
        let kept = now.before(Duration::from_secs(80 * 24 * 3600)).to_beijing_day();
        let (status, problem) = service.post(&format!("/v1/reconciliations/main/{kept}/explain"), &note).await;
        assert_eq!((status, &problem["code"]), (409, &json!("bill_kept")), "{problem}");
        let (status, problem) = explain(12, &json!({})).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid")), "a note is required: {problem}");
        for settled in [11, 13, 16] {
            let (status, problem) = explain(settled, &note).await;
            assert_eq!((status, &problem["code"]), (409, &json!("day_not_open")), "{settled}: {problem}");
        }
        for (n, result) in [(12, Value::Null), (14, Value::Null), (15, json!("red"))] {
            let (status, day) = explain(n, &note).await;
            assert_eq!((status, &day["state"], &day["result"]), (200, &json!("explained"), &result), "{day}");
            assert_eq!((&day["explained"]["note"], &day["explained"]["by"]), (&note["note"], &json!("test")), "{day}");
            assert_eq!(day["bill"].is_null(), result.is_null(), "{day}");
            assert_eq!(service.get(&path(n)).await.1, day);
            let (status, problem) = explain(n, &note).await;
            assert_eq!((status, &problem["code"]), (409, &json!("day_not_open")), "{problem}");
        }
        let audited = "SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.explain' AND result = 'done'
                       AND reason = 'compared by hand' AND subject LIKE 'reconciliation:%' AND actor = 'test'";
        assert_eq!(service.number(audited).await, 3);
        let (_, red) = service.get("/v1/reconciliations?red=1").await;
        let red: Vec<&Value> = red["reconciliations"].as_array().unwrap().iter().map(|day| &day["date"]).collect();
        assert_eq!(red, [&json!(format!("{}-16", month.text))], "its line has a note of its own");
        service.run_sql("UPDATE reconciliations SET open_lines = 0").await;
        // A result of a later run has none of the note.
        let later = format!("UPDATE reconciliations SET run = 3 WHERE day = '{}-15'", month.text);
        service.run_sql(&later).await;
        assert_eq!(service.get(&path(15)).await.1["explained"], Value::Null);
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("api-key");
        std::fs::write(&key, API_KEY).unwrap();
        let day = format!("{}-15", month.text);
        let mut command = wxpayctl(&["reconcile", "explain", "--date", &day, "--note", "compared by hand"]);
        command.env("WXPAYCTL_URL", &service.base).env("WXPAYCTL_KEY_FILE", &key);
        let ran = run(command).await;
        assert!(ran.code == 0 && ran.out.contains("compared by hand"), "{}: {} {}", ran.code, ran.out, ran.err);

        let (status, closed) = service.post(&close, &reason).await;
        assert_eq!((status, &closed["state"]), (200, &json!("closed")), "{closed}");
        let day = |n: usize| &closed["figures"]["days"][n - 1];
        for n in [12, 14, 15] {
            assert_eq!((&day(n)["state"], &day(n)["explained"]["note"]), (&json!("explained"), &note["note"]));
        }
        assert_eq!((&day(12)["differences"], &day(12)["fees"]), (&Value::Null, &Value::Null), "{}", day(12));
        assert_eq!((&day(13)["state"], day(13).get("explained")), (&json!("balanced"), None));
        let sheet = format!("/v1/reports/daily?from={0}-01&to={0}-20&format=csv&lang=zh", month.text);
        let text = service.http.get(format!("{}{sheet}", service.base)).bearer_auth(API_KEY).send().await.unwrap();
        assert_eq!(text.text().await.unwrap().matches("已解释（整日说明）").count(), 3);
        service.finish().await;
    }

    async fn a_month_of_reconciled_days_is_closed_once_and_stays_as_it_is(db: TestDb) {
        let service = with_admin(TestService::new().on(db)).in_process().await;
        service.paid("MO000001").await;
        let month = Month::of(service.clock.now()).unwrap();
        let paid_on = service.clock.now().to_beijing_day();
        let mut at = month.begins_at;
        while at < month.ends_at {
            let (day, open) = (at.to_beijing_day(), i64::from(at == month.begins_at));
            let sql = format!(
                "INSERT INTO reconciliations (merchant, day, work, runs, run, asked_at_ms, bill_settlement_fen,
                                              bill_fees, differences, difference_fen, open_lines, loops)
                 VALUES ('main', '{day}', 'idle', 1, 1, 1, 100, 60000, {open}, {open}, {open},
                         '{{\"trades\":{{\"holds\":true}}}}')"
            );
            service.store.db().execute("test", sql, []).await.unwrap();
            at = at.next_beijing_midnight();
        }
        service.skip_to(Timestamp::from_ms(month.ends_at.as_ms() + 11 * 3600 * 1000));
        let path = format!("/v1/periods/main/{}", month.text);
        let body = json!({"reason": "the month is over"});
        let (status, problem) = service.post(&format!("{path}/close"), &body).await;
        let red = json!([{"day": format!("{}-01", month.text), "state": "red"}]);
        assert_eq!((status, &problem["days"]), (409, &red), "{problem}");
        let resolved = "UPDATE reconciliations SET open_lines = 0 WHERE open_lines = 1";
        assert_eq!(service.store.db().execute("test", resolved, []).await.unwrap(), 1);
        let (status, closed) = service.post(&format!("{path}/close"), &body).await;
        assert_eq!((status, &closed["state"]), (200, &json!("closed")), "{closed}");
        assert_eq!(closed["closed_by"], json!("test"));
        let day = closed["figures"]["days"].as_array().unwrap().iter().find(|day| day["day"] == paid_on.as_str());
        let day = day.unwrap();
        assert_eq!((&day["payments_fen"], &day["fees"], &day["net"]), (&json!(100), &json!("0.60"), &json!("0.40")));
        assert_eq!(closed["figures"]["payments_fen"], json!(100));
        assert_eq!(service.post(&format!("{path}/close"), &body).await.1, closed, "once, however often it is asked");
        // The bytes of the figures are those of the hash.
        let text = service.http.get(format!("{}{path}", service.base)).bearer_auth(API_KEY).send().await.unwrap();
        let text = text.text().await.unwrap();
        let figures = text.strip_prefix("{\"figures\":").unwrap().split(",\"adjustments\":").next().unwrap();
        assert_eq!(closed["hash"], json!(wxpay_worker::secret::sha256_hex(figures.as_bytes())), "{figures}");
        // Whatever is done about a day later, the report of the month stays.
        service.store.db().execute("test", "UPDATE reconciliations SET open_lines = 5", []).await.unwrap();
        let (_, daily) = service.get(&format!("/v1/reports/daily?from={paid_on}")).await;
        assert_eq!(daily["days"][0]["state"], day["state"]);
        let audited = "SELECT COUNT(*) FROM audit WHERE action = 'period.close' AND result IN ('done', 'repeated')";
        assert_eq!(service.number(audited).await, 2);
        // Reopened, it is as the days are now; the closing stays.
        let reason = json!({"reason": "a bill came late"});
        let (status, reopened) = service.post_by(ADMIN, &format!("{path}/reopen"), &reason).await;
        assert_eq!((status, &reopened["state"]), (200, &json!("open")), "{reopened}");
        assert_eq!((&reopened["reopened"][0]["hash"], &reopened["reopened"][0]["reopen_reason"]), (
            &closed["hash"], &reason["reason"],
        ), "{reopened}");
        let days = reopened["figures"]["days"].as_array().unwrap();
        assert!(days.iter().all(|day| day["state"] == "red"), "{days:?}");
        let (status, problem) = service.post(&format!("{path}/close"), &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("period_open_days")), "{problem}");
        service.store.db().execute("test", "UPDATE reconciliations SET open_lines = 0", []).await.unwrap();
        let (status, again) = service.post(&format!("{path}/close"), &body).await;
        assert_eq!((status, &again["state"]), (200, &json!("closed")), "{again}");
        assert_eq!(service.number("SELECT COUNT(*) FROM period_closings").await, 2);
        service.finish().await;
    }
}
