//! The books of many rows: pages, sums and closings agree whatever their borders are, and a page reads no more than its
//! rows.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::{BookKey, BookRange, BookRow, DbKind, book_page_statement};

use crate::harness::size;
use crate::harness::store::TestStore;
use crate::order::dice::Dice;
use crate::settling::on_both;

/// Rows of one second each, of two merchants and two currencies.
const ROWS: &str = "
    INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen, currency,
                        occurred_at_ms, recorded_at_ms, to_class, payment_version, evidence)
    WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
    SELECT CASE WHEN i % 10 = 0 THEN 'other' ELSE 'main' END, 0, 'N' || i, 'payment', '42' || i, i % 97 + 1,
           CASE WHEN i % 7 = 0 THEN 'USD' ELSE 'CNY' END, 1, i / 3 * 1000, 'unmatched', 1, 'notification:' || i
    FROM n";

fn range(merchant: &str, from: i64, to: i64) -> BookRange {
    let merchant = MerchantKey::parse(merchant).unwrap();
    BookRange { merchant, from: Timestamp::from_ms(from), to: Timestamp::from_ms(to) }
}

async fn fill(stage: &TestStore, rows: u64) {
    for first in (1..=rows).step_by(20_000) {
        let last = (first + 19_999).min(rows);
        let sql = ROWS.replace("{first}", &first.to_string()).replace("{last}", &last.to_string());
        stage.execute(&sql).await.unwrap();
    }
    stage.analyze().await;
}

async fn all(stage: &TestStore, range: &BookRange, limit: u64) -> Vec<BookRow> {
    let (mut rows, mut after) = (Vec::<BookRow>::new(), None);
    loop {
        let page = stage.store.book_rows(range, after, limit).await.unwrap();
        let is_last = (page.len() as u64) < limit;
        after = page.last().map(|row| row.key).or(after);
        rows.extend(page);
        if is_last {
            return rows;
        }
    }
}

fn keys(rows: &[BookRow]) -> Vec<BookKey> {
    rows.iter().map(|row| row.key).collect()
}

on_both! {
    async fn pages_sums_and_closings_agree_whatever_their_borders_are(db: TestDb) {
        let stage = TestStore::open(db).await;
        fill(&stage, 600).await;
        let whole = all(&stage, &range("main", 0, i64::MAX), 1000).await;
        assert_eq!(i64::try_from(whole.len()).unwrap(), stage.count("ledger WHERE merchant = 'main'").await);
        assert!(whole.is_sorted_by_key(|row| row.key));
        for limit in [1, 2, 3, 50] {
            assert_eq!(keys(&all(&stage, &range("main", 0, i64::MAX), limit).await), keys(&whole), "pages of {limit}");
        }
        let mut dice = Dice(5);
        for round in 0..30 {
            if round == 10 {
                assert_eq!(stage.store.close_day(Timestamp::from_ms(90_000)).await.unwrap(), 2);
                assert_eq!(stage.store.close_day(Timestamp::from_ms(90_000)).await.unwrap(), 0, "once");
            }
            let from = i64::try_from(dice.below(210_000)).unwrap();
            let range = range("main", from, from + i64::try_from(dice.below(100_000)).unwrap());
            let mut balances = BTreeMap::<String, i64>::new();
            for row in whole.iter().filter(|row| row.key.at < range.from) {
                *balances.entry(row.currency.clone()).or_default() += row.change_fen;
            }
            let opening = stage.store.balances_before(&range.merchant, range.from).await.unwrap();
            assert_eq!(opening, balances, "opening at {from}");
            for row in whole.iter().filter(|row| row.key.at >= range.from && row.key.at < range.to) {
                *balances.entry(row.currency.clone()).or_default() += row.change_fen;
            }
            let mut closing = opening;
            for sum in stage.store.book_sums(&range).await.unwrap() {
                *closing.entry(sum.currency).or_default() += sum.change_fen;
            }
            assert_eq!(closing, balances, "closing of {range:?}");
            assert_eq!(stage.store.balances_before(&range.merchant, range.to).await.unwrap(), balances);
        }
    }

    async fn a_row_that_is_recorded_before_a_closing_removes_it(db: TestDb) {
        let stage = TestStore::open(db).await;
        fill(&stage, 60).await;
        let (early, late) = (Timestamp::from_ms(5_000), Timestamp::from_ms(15_000));
        stage.store.close_day(early).await.unwrap();
        stage.store.close_day(late).await.unwrap();
        let closings = stage.count("ledger_closings WHERE merchant = 'main'").await;
        let main = MerchantKey::parse("main").unwrap();
        let before = stage.store.balances_before(&main, late).await.unwrap();
        let one = ROWS.replace("{first}", "1001").replace("{last}", "1001").replace("i / 3 * 1000", "9000");
        stage.execute(&one).await.unwrap();
        let kept = stage.count("ledger_closings WHERE merchant = 'main'").await;
        assert_eq!((closings, kept), (4, 2), "the earlier one stays");
        assert_eq!(stage.count("ledger_closings WHERE merchant = 'other'").await, 2, "of the other merchant, all");
        let after = stage.store.balances_before(&main, late).await.unwrap();
        let sum = |balances: &BTreeMap<String, i64>| balances.values().sum::<i64>();
        assert_eq!(sum(&after) - sum(&before), 1001 % 97 + 1);
    }

    async fn a_page_deep_in_many_rows_reads_no_more_than_itself(db: TestDb) {
        let stage = TestStore::open(db).await;
        let rows = size(20_000, 200_000);
        fill(&stage, rows).await;
        let middle = i64::try_from(rows).unwrap() / 6 * 1000;
        let after = BookKey { at: Timestamp::from_ms(middle), is_refund: false, id: i64::try_from(rows).unwrap() / 2 };
        let (sql, values) = book_page_statement(&range("main", 0, i64::MAX), Some(after), 100);
        let kind = stage.store.db().kind();
        let explain = match kind {
            DbKind::Sqlite => "EXPLAIN QUERY PLAN",
            DbKind::Postgres => "EXPLAIN (ANALYZE)",
        };
        let statement = stage.store.db().statement(format!("{explain} {sql}"), values);
        let found = stage.store.db().read().query_all_raw(statement).await.unwrap();
        let column = if kind == DbKind::Sqlite { "detail" } else { "QUERY PLAN" };
        let plan: Vec<String> = found.iter().map(|row| row.try_get("", column).unwrap()).collect();
        assert!(plan.iter().any(|line| line.contains("ledger_recorded")), "{plan:#?}");
        assert!(!plan.iter().any(|line| line.contains("Seq Scan on ledger") || line == "SCAN ledger"), "{plan:#?}");
        let page = stage.store.book_rows(&range("main", 0, i64::MAX), Some(after), 100).await.unwrap();
        assert!(page.len() == 100 && page[0].key > after);
        let begun = Instant::now();
        let end = Timestamp::from_ms(i64::MAX);
        let main = MerchantKey::parse("main").unwrap();
        let open = stage.store.balances_before(&main, end).await.unwrap();
        let summed = begun.elapsed();
        stage.store.close_day(Timestamp::from_ms(middle * 2)).await.unwrap();
        let begun = Instant::now();
        assert_eq!(stage.store.balances_before(&main, end).await.unwrap(), open);
        let closed = begun.elapsed();
        let begun = Instant::now();
        stage.store.book_rows(&range("main", 0, i64::MAX), Some(after), 1000).await.unwrap();
        let paged = begun.elapsed();
        let begun = Instant::now();
        assert_eq!(all(&stage, &range("main", 0, i64::MAX), 1000).await.len() as u64, rows - rows / 10);
        let figures: [Duration; 4] = [summed, closed, paged, begun.elapsed()];
        let _ = writeln!(std::io::stderr(), "{kind:?} {rows} rows: sum, from a closing, page of 1000, all {figures:?}");
    }
}
