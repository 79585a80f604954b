//! The job that closes and compares: no merchant's errors or open days keep the days of others from it.

use std::time::Duration;

use tokio::time::Instant;
use wxpay_worker::books::{plan, run_due};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::{BookCheck, Db, DbKind};

use super::months::at;
use crate::harness::service::TestService;
use crate::harness::store::TestStore;
use crate::settling::on_both;

fn merchant(key: &str) -> MerchantKey {
    MerchantKey::parse(key).unwrap()
}

/// Money of no order that entered the ledger.
async fn entered(stage: &TestStore, merchant: &str, recorded_at: &str) {
    let at = at(recorded_at).as_ms();
    let sql = format!(
        "INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen, currency,
                             occurred_at_ms, recorded_at_ms, to_class, payment_version)
         VALUES ('{merchant}', 0, 'N{at}', 'payment', 'T{at}', 1, 'CNY', {at}, {at}, 'unmatched', 1)"
    );
    stage.execute(&sql).await.unwrap();
}

/// A day that was compared and did not agree.
async fn open(stage: &TestStore, key: &str, day: &str) {
    let check = BookCheck {
        merchant: merchant(key),
        day: day.into(),
        checked_at: at("2026-11-03 01:00:00"),
        rows: 1,
        findings: 1,
        found: "[]".into(),
    };
    stage.store.keep_book_check(&check).await.unwrap();
}

/// From here on the database refuses rows of the merchant `main` in a table.
async fn refuse(db: &Db, table: &str) {
    let sql = match db.kind() {
        DbKind::Sqlite => format!(
            "CREATE TRIGGER refused BEFORE INSERT ON {table} WHEN NEW.merchant = 'main'
             BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        ),
        DbKind::Postgres => format!(
            "CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$
               BEGIN
                 IF NEW.merchant = 'main' THEN RAISE EXCEPTION 'not this one'; END IF;
                 RETURN NEW;
               END $$;
             CREATE TRIGGER refused BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refused()"
        ),
    };
    db.write("test", sql, |tx, sql| Box::pin(tx.execute_unprepared(sql))).await.unwrap();
}

fn days(planned: &[(MerchantKey, Timestamp)]) -> Vec<(&str, String)> {
    planned.iter().map(|(merchant, day)| (merchant.as_str(), day.to_beijing_day()[5..].to_owned())).collect()
}

/// `main` has two days that do not agree and two new ones, `other` three new ones.
async fn furnished(stage: &TestStore) {
    entered(stage, "main", "2026-11-01 10:00:00").await;
    entered(stage, "other", "2026-11-02 10:00:00").await;
    open(stage, "main", "2026-11-01").await;
    open(stage, "main", "2026-11-02").await;
}

on_both! {
    async fn new_days_of_all_come_before_open_ones_and_no_merchant_is_always_first(db: TestDb) {
        let stage = TestStore::open(db).await;
        furnished(&stage).await;
        let books = stage.store.books();
        let now = at("2026-11-05 12:00:00");
        let first = plan(&books, &[merchant("main")], now).await.unwrap();
        let second = plan(&books, &[merchant("main")], now.after(Duration::from_secs(3600))).await.unwrap();
        let day = |key: &'static str, day: &str| (key, day.to_owned());
        let from_main = [
            day("main", "11-03"), day("other", "11-02"), day("main", "11-04"), day("other", "11-03"),
            day("other", "11-04"),
        ];
        let from_other = [
            day("other", "11-02"), day("main", "11-03"), day("other", "11-03"), day("main", "11-04"),
            day("other", "11-04"),
        ];
        let (open, back) = (["11-01", "11-02"], ["11-02", "11-01"]);
        let expected =
            |new: &[(&'static str, String)], open: [&str; 2]| [new, &open.map(|of| day("main", of))].concat();
        // An even hour since 1970, and an odd one.
        assert_eq!(days(&first.days), expected(&from_main, open));
        assert_eq!(days(&second.days), expected(&from_other, back));
        assert!(first.failed.is_empty() && second.failed.is_empty());
    }

    async fn a_merchant_that_cannot_be_compared_keeps_no_other_from_it(db: TestDb) {
        let stage = TestStore::open(db).await;
        furnished(&stage).await;
        refuse(stage.store.db(), "book_checks").await;
        for hour in 0..2 {
            let now = at("2026-11-05 12:00:00").after(Duration::from_secs(3600 * hour));
            let until = Instant::now() + Duration::from_secs(600);
            let ran = run_due(&stage.store, &[merchant("main")], now, until).await.unwrap();
            assert_eq!((ran.failed.len(), ran.is_behind), (1, false), "{ran:?}");
            assert!(ran.failed[0].starts_with("main, 2026-11-03: "), "{ran:?}");
            assert_eq!(stage.count("book_checks WHERE merchant = 'other'").await, 3, "{ran:?}");
            assert_eq!(stage.count("book_checks WHERE merchant = 'main'").await, 2, "no new day: {ran:?}");
        }
    }

    async fn a_merchant_that_cannot_be_closed_keeps_no_other_from_it(db: TestDb) {
        let stage = TestStore::open(db).await;
        furnished(&stage).await;
        refuse(stage.store.db(), "ledger_closings").await;
        stage.store.close_day(at("2026-11-05 00:00:00")).await.unwrap_err();
        assert_eq!(stage.count("ledger_closings WHERE merchant = 'other'").await, 1);
        assert_eq!(stage.count("ledger_closings").await, 1);
    }

    async fn a_day_that_cannot_be_closed_is_compared_and_the_run_is_reported_as_failed(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.skip_to(service.clock.now().next_beijing_midnight());
        service.paid("DU000001").await;
        refuse(service.store.db(), "ledger_closings").await;
        service.skip_to(service.clock.now().next_beijing_midnight());
        service.skip(2 * 3600);
        let failed = "SELECT COUNT(*) FROM job_reports WHERE job = 'books' AND outcome = 'failed'
                      AND detail LIKE 'closing the day: %'";
        service.until_number("the report", failed, |n| n > 0).await;
        let compared = "SELECT COUNT(*) FROM book_checks WHERE merchant = 'main' AND rows_checked > 0 AND findings = 0";
        assert_eq!(service.number(compared).await, 1);
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger_closings").await, 0);
        service.finish().await;
    }
}
