//! Repairs that outlive their request: what was asked about settles later, and there are more lines than one batch.

use serde_json::{Value, json};

use super::day_of;
use crate::harness::service::{InProcess, TestService};
use crate::settling::on_both;

impl InProcess {
    /// The day once its repair has this state.
    pub async fn until_repair_is(&self, day: &str, state: &str, step: u64) -> Value {
        let is = |repair: &Value| repair["state"] == state;
        self.until_repair(day, &format!("a repair that is {state}"), step, is).await
    }

    /// The day once its repair is so; the clock goes on in steps of so many seconds.
    async fn until_repair(&self, day: &str, what: &str, step: u64, is: impl Fn(&Value) -> bool) -> Value {
        let path = &format!("/v1/reconciliations/main/{day}");
        let is = &is;
        let found = || async move {
            let found = self.get(path).await.1;
            let is = is(&found["repair"]);
            if !is {
                self.skip(step);
            }
            is.then_some(found)
        };
        self.found(what, found).await
    }

    /// A result of a day that is red, with such a number of payments that the bill has and our books do not.
    pub async fn red_day(&self, day: &str, lines: i64) {
        let sql = format!(
            "INSERT INTO reconciliations (merchant, day, work, runs, run, asked_at_ms, differences, open_lines, loops)
             VALUES ('main', '{day}', 'idle', 1, 1, 1, {lines}, {lines}, '{{}}')"
        );
        self.store.db().execute("test", sql, []).await.unwrap();
        let sql = format!(
            "INSERT INTO reconciliation_lines (merchant, day, run, line_key, class, kind, transaction_id, out_trade_no,
                                               bill_fen, bill_currency, explains_fen, resolution)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {lines})
             SELECT 'main', '{day}', 1, 'k' || i, 'missing_here', 'payment', '42000' || (100000 + i),
                    'RP' || (100000 + i), 100, 'CNY', 100, 'open' FROM n"
        );
        self.store.db().execute("test", sql, []).await.unwrap();
    }

    /// Awaits that the job of repairs is not due before the clock moves.
    pub async fn until_repairs_rest(&self) {
        let rests = || async {
            let now = self.clock.now().as_ms();
            let sql = format!("SELECT COUNT(*) FROM jobs WHERE name = 'repairs' AND next_due_at_ms > {now}");
            (self.number(&sql).await == 1).then_some(())
        };
        self.found("a run of the job of repairs", rests).await;
    }

    /// The payments of all lines are in the books.
    pub async fn enter_all_lines(&self) {
        let sql = "INSERT INTO payments (merchant, transaction_id, version, class, out_trade_no, mch_id, appid,
                                         amount_fen, currency, paid_at_ms, recorded_at_ms, updated_at_ms)
                   SELECT merchant, transaction_id, 1, 'unmatched', out_trade_no, 'm', 'a', 100, 'CNY', 1, 1, 1
                   FROM reconciliation_lines";
        self.store.db().execute("test", sql, []).await.unwrap();
    }

    /// Repairs a day.
    pub async fn repaired(&self, day: &str) -> Value {
        let body = json!({"dry_run": false, "reason": "lost"});
        let (status, answer) = self.post(&format!("/v1/reconciliations/main/{day}/repair"), &body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

const REPAIRED: &str = "SELECT COUNT(*) FROM audit WHERE action = 'reconciliation.repair'";

on_both! {
    async fn a_day_is_compared_again_once_what_was_asked_about_has_settled(db: TestDb) {
        let mut service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        service.place("LO000021").await;
        let lost = json!([{"on": "notify", "kind": "drop", "times": null},
                          {"on": "orderquery", "kind": "drop", "times": null}]);
        service.faults(lost).await;
        service.pay("LO000021").await;
        service.end_day().await;
        let red = service.reconciled(&day).await;
        assert_eq!((&red["state"], &red["classes"]["missing_here"]), (&json!("red"), &json!(1)), "{red}");
        assert_eq!(red["repair"], Value::Null, "{red}");
        let done = service.repaired(&day).await;
        assert_eq!((&done["results"][0]["result"], &done["repair"]["state"]), (&json!("asked"), &json!("settling")));
        let path = format!("/v1/reconciliations/main/{day}");
        let waits = service.get(&path).await.1;
        assert_eq!((&waits["state"], &waits["repair"]["waits_for"]), (&json!("red"), &json!(1)), "{waits}");
        // The process ends; no one asks for the day any more.
        service.restart_with(|_| {}).await;
        service.clear_faults().await;
        let after = service.until_repair_is(&day, "done", 5).await;
        assert_eq!(after["repair"]["waits_for"], 0, "{after}");
        let after = service.until_compared(&day).await;
        assert_eq!((&after["state"], &after["classes"]), (&json!("balanced"), &json!({"matched": 1})), "{after}");
        assert_eq!(service.events("LO000021").await.iter().filter(|event| *event == "order.paid").count(), 1);
        assert_eq!(service.number(REPAIRED).await, 1);
        service.finish().await;
    }

    async fn what_does_not_settle_is_waited_for_so_often_and_the_day_says_so(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = day_of(service.clock.now());
        service.red_day(&day, 1).await;
        // An order of ours that was not paid, whatever the bill says.
        service.place("RP100001").await;
        let done = service.repaired(&day).await;
        assert_eq!((&done["results"][0]["result"], &done["repair"]["state"]), (&json!("asked"), &json!("settling")));
        // One by one: each is a run of the job, which comes every five seconds.
        for tries in 1..13 {
            service.until_repair(&day, "another try", 600, |repair| repair["tries"].as_i64() >= Some(tries)).await;
        }
        let after = service.until_repair_is(&day, "unsettled", 600).await;
        assert_eq!((&after["state"], &after["repair"]["waits_for"]), (&json!("red"), &json!(1)), "{after}");
        assert_eq!((&after["repair"]["tries"], &after["repair"]["next_at"]), (&json!(13), &Value::Null), "{after}");
        assert_eq!(service.number("SELECT runs FROM reconciliations").await, 1, "nothing to compare came");
        service.finish().await;
    }

    async fn all_lines_are_repaired_however_many_and_a_restart_costs_none(db: TestDb) {
        const LINES: i64 = 620;
        let mut service = TestService::new().on(db).in_process().await;
        let day = day_of(service.clock.now());
        service.red_day(&day, LINES).await;
        // Their payments are in the books by now.
        service.enter_all_lines().await;
        let path = format!("/v1/reconciliations/main/{day}");
        let plan = service.post(&format!("{path}/repair"), &json!({"dry_run": true})).await.1;
        assert_eq!(plan["plan"].as_array().unwrap().len(), 500, "a page of the plan");
        let rest = service.post(&format!("{path}/repair"), &json!({"after": plan["next"]})).await.1;
        assert_eq!((rest["plan"].as_array().unwrap().len(), &rest["next"]), (120, &Value::Null));
        let done = service.repaired(&day).await;
        // At most: on a busy machine the request's time may be over before.
        assert!((1..=50).contains(&done["results"].as_array().unwrap().len()), "{done}");
        assert_eq!(done["results"][0]["result"], "known", "{done}");
        assert_eq!((&done["repair"]["state"], &done["repair"]["lines"]), (&json!("running"), &json!(LINES)), "{done}");
        service.restart_with(|_| {}).await;
        let after = service.until_repair_is(&day, "done", 5).await;
        assert_eq!((&after["repair"]["done"], &after["repair"]["asked"]), (&json!(LINES), &json!(0)), "{after}");
        assert_eq!(service.number(REPAIRED).await, LINES, "each line once");
        assert_eq!(service.number("SELECT COUNT(*) FROM reconciliation_lines WHERE resolution = 'open'").await, 0);
        service.leave_books_open("payments that the test wrote");
        service.finish().await;
    }
}
