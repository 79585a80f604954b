//! Days with planted differences: each is found with its class, none is invented, nothing remains, and the day is red
//! exactly when something is open.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{assert_proof, day_of};
use crate::harness::db::TestDb;
use crate::harness::service::{InProcess, TestService};
use crate::harness::size;
use crate::harness::sql::texts;
use crate::settling::on_both;

/// A small generator: the same seed plants the same.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn is(&mut self) -> bool {
        self.below(2) == 1
    }
}

/// What is to be found: classes by the number of the row.
type Planted = BTreeMap<String, (&'static str, &'static str)>;

/// Payments, each with nothing or one thing wrong with it.
async fn payments(service: &InProcess, seeded: &mut Seeded, day: &str) -> (Planted, Vec<Value>) {
    let (mut planted, mut differences) = (Planted::new(), Vec::new());
    for (n, kind) in ["none", "missing_payment", "amount", "fee", "duplicate", "currency", "none"].iter().enumerate() {
        let number = format!("SD{:02}{n:04}", seeded.below(90));
        service.paid(&number).await;
        if *kind == "none" || seeded.is() {
            continue;
        }
        let class = if *kind == "missing_payment" { "missing_in_bill" } else { kind };
        let mut difference = json!({"kind": kind});
        let named = if *kind == "missing_payment" { "out_trade_no" } else { "number" };
        difference[named] = json!(number);
        differences.push(difference);
        planted.insert(number, (class, "open"));
    }
    let day = day.replace('-', "");
    for (prefix, class, resolution) in [("XX", "missing_here", "open"), ("POS", "foreign", "covered")] {
        if seeded.is() {
            let number = format!("{prefix}{}", 100_000 + seeded.below(100_000));
            let fen = 1 + seeded.below(99_999);
            differences.push(json!({"kind": "extra", "out_trade_no": number, "day": day, "total_fee": fen}));
            planted.insert(number, (class, resolution));
        }
    }
    (planted, differences)
}

/// Refunds: some end well, some do not, some unreported.
async fn refunds(service: &InProcess, seeded: &mut Seeded, planted: &mut Planted, differences: &mut Vec<Value>) {
    let kinds = ["none", "missing_refund", "amount", "status", "console", "pending", "reversed"];
    for (n, kind) in kinds.iter().enumerate() {
        let number = format!("SR{:02}{n:04}", seeded.below(90));
        service.paid(&number).await;
        if *kind != "none" && seeded.is() {
            continue;
        }
        let amount = 1 + i64::try_from(seeded.below(99)).unwrap();
        if *kind == "console" {
            let body = json!({"out_trade_no": number, "refund_fee": amount, "notify": false});
            let made = service.wechat_control("refunds/console", body).await;
            let refund_no = made["out_refund_no"].as_str().unwrap().to_owned();
            planted.insert(refund_no, ("refund_missing_here", "open"));
            continue;
        }
        let refund_no = format!("R{number}");
        service.refunding(&number, &refund_no, amount).await;
        let (class, resolution) = match *kind {
            "missing_refund" => ("refund_missing_in_bill", "open"),
            "amount" => ("refund_amount", "open"),
            "status" => ("status", "open"),
            "pending" => ("refund_pending", "covered"),
            "reversed" => ("refund_reversed", "covered"),
            _ => ("matched", "none"),
        };
        match *kind {
            "pending" => {}
            "reversed" => {
                service.ends(&refund_no, "REFUNDCLOSE").await;
                service.until_refunded(&refund_no, "failed").await;
            }
            _ => {
                service.ends(&refund_no, "SUCCESS").await;
                service.until_refunded(&refund_no, "succeeded").await;
            }
        }
        match *kind {
            "missing_refund" => differences.push(json!({"kind": "missing_refund", "out_refund_no": refund_no})),
            "amount" => differences.push(json!({"kind": "amount", "number": refund_no})),
            "status" => differences.push(json!({"kind": "status", "number": refund_no, "status": "FAIL"})),
            _ => {}
        }
        if class != "matched" {
            planted.insert(refund_no, (class, resolution));
        }
    }
}

/// Money that does not fit its order, which is ours and at WeChat; and a payment half an hour before midnight, which
/// WeChat books on the next day.
async fn of_the_evening(service: &InProcess, seeded: &mut Seeded, planted: &mut Planted, differences: &mut Vec<Value>) {
    if seeded.is() {
        let number = format!("SH{:06}", seeded.below(900_000));
        service.place(&number).await;
        service.expect_dead_letters(&["amount_differs"]);
        service.wechat_control("pay", json!({"out_trade_no": number, "total_fee": 70})).await;
        service.until_number("held money", "SELECT COUNT(*) FROM payments WHERE class = 'held'", |n| n == 1).await;
    }
    if seeded.is() {
        let number = format!("SM{:06}", seeded.below(900_000));
        let midnight = service.clock.now().next_beijing_midnight();
        service.skip_to(midnight.before(Duration::from_secs(1800)));
        service.paid(&number).await;
        differences.push(json!({"kind": "postponed", "number": number}));
        planted.insert(number, ("carried", "none"));
    }
}

fn found(lines: &[Value]) -> BTreeMap<String, (String, String)> {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let number = |line: &Value| {
        let named = if line["kind"] == "refund" { "refund_no" } else { "out_trade_no" };
        text(line, named)
    };
    lines.iter().map(|line| (number(line), (text(line, "class"), text(line, "resolution")))).collect()
}

/// One day of a seed.
pub async fn play(service: &InProcess, seed: u64) {
    let day = service.begin_day().await;
    let mut seeded = Seeded(seed.wrapping_mul(7919).wrapping_add(17));
    let (mut planted, mut differences) = payments(service, &mut seeded, &day).await;
    refunds(service, &mut seeded, &mut planted, &mut differences).await;
    of_the_evening(service, &mut seeded, &mut planted, &mut differences).await;
    service.plant(json!(differences)).await;
    service.end_day().await;
    let result = service.reconciled(&day).await;
    let lines = service.lines(&day).await;
    let expected: BTreeMap<String, (String, String)> =
        planted.iter().map(|(number, (class, how))| (number.clone(), (class.to_string(), how.to_string()))).collect();
    assert_eq!(found(&lines), expected, "seed {seed}: {result}");
    assert_eq!(lines.len(), planted.len(), "seed {seed}: {lines:?}");
    assert_proof(&result, &lines);
    assert_eq!(result["loops"]["trades"]["holds"], planted.values().all(|(_, how)| *how != "open"), "seed {seed}");
    assert_eq!(result["loops"]["funds_error"], Value::Null, "{result}");
    assert_eq!(result["loops"]["funds"]["balance_holds"], true, "{result}");
    // The same bill again says the same.
    let events = "SELECT COUNT(*) FROM outbox WHERE event_type LIKE 'wxpay.bill.%'";
    let before = service.number(events).await;
    let events_of_results = "SELECT COUNT(*) FROM outbox WHERE event_type LIKE 'wxpay.bill.reconciled%'";
    let events_due = 1 + planted.values().filter(|(class, _)| *class != "carried").count();
    let emitted = service.number(events_of_results).await;
    let runs = texts(service.store.db(), "SELECT day || ' ' || run || ' of ' || runs FROM reconciliations").await;
    let is_due = before == i64::try_from(events_due).unwrap();
    assert!(is_due, "an event per difference, and one per result: {before}, {events_due}, {emitted} of {runs:?}");
    // What is held is ours: no line differs by it.
    let ours = "SELECT COUNT(*) FROM payments";
    assert_eq!(result["ledger"]["payments"], service.number(ours).await, "seed {seed}: {result}");
    let again = service.reconciled(&day).await;
    assert_eq!((&again["classes"], &again["state"]), (&result["classes"], &result["state"]));
    assert_eq!(found(&service.lines(&day).await), expected);
    assert_eq!(service.number(events).await, before, "no new event");
    // Lines of the run before are removed once the result is there.
    let kept = i64::try_from(lines.len()).unwrap();
    let all = "SELECT COUNT(*) FROM reconciliation_lines";
    service.until_number("the lines of this result alone", all, |n| n == kept).await;
}

/// Two seeds in one run of the tests, a hundred in the long one.
async fn played(db: impl AsyncFn() -> TestDb) {
    for seed in 1..=size(2, 100) {
        let service = TestService::new().on(db().await).refunds();
        let service = service.config("[reconcile]\nforeign = [\"POS\"]\n").in_process().await;
        play(&service, seed).await;
        service.leave_books_open("differences are planted, and refunds that were not reported are left alone");
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_differences_are_found_on_sqlite() {
    played(async || TestDb::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_differences_are_found_on_postgres() {
    played(TestDb::postgres).await;
}

on_both! {
    async fn a_day_without_differences_is_balanced(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        service.paid("DY000001").await;
        service.place("DY000002").await;
        // Money that does not fit its order is ours all the same.
        service.wechat_control("pay", json!({"out_trade_no": "DY000002", "total_fee": 70})).await;
        service.expect_dead_letters(&["amount_differs"]);
        service.until_number("held money", "SELECT COUNT(*) FROM payments WHERE class = 'held'", |n| n == 1).await;
        service.refunding("DY000001", "DYR1", 30).await;
        service.ends("DYR1", "SUCCESS").await;
        service.until_refunded("DYR1", "succeeded").await;
        service.end_day().await;
        let result = service.reconciled(&day).await;
        assert_eq!((&result["state"], &result["classes"]), (&json!("balanced"), &json!({"matched": 3})), "{result}");
        assert_eq!(result["bill"]["payments_fen"], 170);
        assert_eq!((&result["ledger"]["refunds_fen"], &result["bill"]["fees"]), (&json!(30), &json!("0.01000")));
        let funds = &result["loops"]["funds"];
        assert_eq!((&funds["holds"], &funds["booked_fen"]), (&json!(true), &json!(139)), "{funds}");
        assert_eq!(funds["balance_holds"], true, "{funds}");
        assert_proof(&result, &[]);
        service.finish().await;
    }

    async fn a_payment_that_was_booked_after_midnight_is_carried(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let day = service.begin_day().await;
        // Half past eleven in the evening.
        service.skip(21 * 3600 + 1800);
        service.paid("MN000001").await;
        service.plant(json!([{"kind": "postponed", "number": "MN000001"}])).await;
        service.end_day().await;
        let next = day_of(service.clock.now());
        let first = service.reconciled(&day).await;
        // The first day's bill is empty, and our books are not: it is not taken for an empty day.
        assert_eq!(first["state"], "failed", "{first}");
        service.end_day().await;
        let second = service.reconciled(&next).await;
        assert_eq!((&second["state"], &second["classes"]["carried"]), (&json!("balanced"), &json!(1)), "{second}");
        let lines = service.lines(&next).await;
        assert_eq!((&lines[0]["other_day"], &lines[0]["explains_fen"]), (&json!(day), &json!(100)), "{lines:?}");
        assert_proof(&second, &lines);
        service.finish().await;
    }
    async fn a_refund_that_was_booked_after_midnight_is_carried(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let day = service.begin_day().await;
        service.paid("MN000011").await;
        // Five past eleven in the evening.
        service.skip(21 * 3600 + 300);
        service.refunding("MN000011", "MNR11", 30).await;
        service.ends("MNR11", "SUCCESS").await;
        service.until_refunded("MNR11", "succeeded").await;
        service.plant(json!([{"kind": "postponed", "number": "MNR11"}])).await;
        service.end_day().await;
        let next = day_of(service.clock.now());
        let first = service.reconciled(&day).await;
        let classes = json!({"matched": 1, "carried": 1});
        assert_eq!((&first["state"], &first["classes"]), (&json!("balanced"), &classes), "{first}");
        service.end_day().await;
        // The row has the evening's time, in the bill of the next day.
        let second = service.reconciled(&next).await;
        let classes = json!({"carried": 1, "matched": 0});
        assert_eq!((&second["state"], &second["classes"]), (&json!("balanced"), &classes), "{second}");
        let lines = service.lines(&next).await;
        assert_eq!((&lines[0]["other_day"], &lines[0]["explains_fen"]), (&json!(day), &json!(-30)), "{lines:?}");
        assert_proof(&second, &lines);
        service.finish().await;
    }
}
