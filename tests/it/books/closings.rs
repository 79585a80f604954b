//! A closing, and a row that is recorded before it by a clock that was set back, at the same time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::store::{AuditEntry, BookRange, DbKind, EndpointFormat, EndpointState, WebhookEndpoint};

use crate::harness::sql::number;
use crate::harness::store::TestStore;
use crate::harness::within_timeout;
use crate::settling::on_both;

const END: Timestamp = Timestamp::from_ms(90_000);

fn row(n: usize) -> String {
    format!(
        "INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen, currency,
                             occurred_at_ms, recorded_at_ms, to_class, payment_version)
         VALUES ('main', 0, 'N{n}', 'payment', 'T{n}', {n}, 'CNY', 1, {n}, 'unmatched', 1)"
    )
}

async fn balance(stage: &TestStore, merchant: &MerchantKey) -> i64 {
    stage.store.balances_before(merchant, END).await.unwrap().values().sum()
}

async fn sum(stage: &TestStore) -> i64 {
    number(stage.store.db(), "SELECT CAST(SUM(amount_fen) AS BIGINT) FROM ledger").await
}

on_both! {
    async fn a_closing_that_is_made_beside_late_rows_has_them_or_is_gone(db: TestDb) {
        let stage = TestStore::open(db).await;
        let main = MerchantKey::parse("main").unwrap();
        for n in 1..=60 {
            let late = row(n);
            let (closed, entered) = tokio::join!(stage.store.close_day(END), stage.execute(&late));
            closed.unwrap();
            entered.unwrap();
            assert_eq!(balance(&stage, &main).await, sum(&stage).await, "round {n}");
        }
        stage.store.close_day(END).await.unwrap();
        assert_eq!(stage.count("ledger_closings").await, 1);
        assert_eq!(balance(&stage, &main).await, sum(&stage).await);
    }

    /// More rows than are grouped at once, of two currencies.
    async fn many_rows_come_to_the_sums_of_all_of_them(db: TestDb) {
        let stage = TestStore::open(db).await;
        let main = MerchantKey::parse("main").unwrap();
        let rows = "INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen,
                                        currency, occurred_at_ms, recorded_at_ms, to_class, payment_version)
                    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 45000)
                    SELECT 'main', 0, 'N' || i, 'payment', 'T' || i, 1,
                           CASE WHEN i % 9 = 0 THEN 'USD' ELSE 'CNY' END, 1, i,
                           CASE WHEN i % 2 = 0 THEN 'unmatched' ELSE 'held' END, 1 FROM n";
        stage.execute(rows).await.unwrap();
        let range = BookRange { merchant: main.clone(), from: Timestamp::from_ms(1), to: END };
        let sums = stage.store.book_sums(&range).await.unwrap();
        let sums: Vec<_> = sums.iter().map(|s| (s.currency.as_str(), s.class.as_str(), s.rows, s.change_fen)).collect();
        let (yuan, dollars) = ([20_000, 20_000], [2_500, 2_500]);
        let each = |currency, [held, unmatched]: [i64; 2]| {
            [(currency, "held", held, held), (currency, "unmatched", unmatched, unmatched)]
        };
        assert_eq!(sums, [each("CNY", yuan), each("USD", dollars)].concat());
        let kept = |usd, cny| [("USD".to_owned(), usd), ("CNY".to_owned(), cny)].into();
        assert_eq!(stage.store.balances_before(&main, END).await.unwrap(), kept(5_000, 40_000));
        assert_eq!(stage.store.close_day(Timestamp::from_ms(40_001)).await.unwrap(), 1);
        assert_eq!(stage.store.balances_before(&main, END).await.unwrap(), kept(5_000, 40_000));
    }

    /// A ledger of many days that never had a closing.
    async fn the_first_closing_of_many_days_comes_to_the_sums_of_their_rows(db: TestDb) {
        let stage = TestStore::open(db).await;
        for sql in YEAR {
            stage.execute(sql).await.unwrap();
        }
        let end = Timestamp::from_ms(40_000_000_000);
        assert_eq!(stage.store.close_day(end).await.unwrap(), 2);
        let steps = "(SELECT DISTINCT at_ms FROM ledger_closings WHERE merchant = 'main') AS s";
        assert_eq!(stage.count(steps).await, 3, "of 20,000 rows each, and the rest");
        assert_eq!(stage.count("ledger_closings WHERE at_ms = 40000000000").await, 4, "two merchants, two currencies");
        assert_eq!(stage.count(WRONG).await, 0);
        assert_eq!(stage.store.close_day(end).await.unwrap(), 0, "once");
        // A late row takes away what is behind it; the rest is made from what is left.
        stage.execute(&row(16).replace(", 16, 'unmatched'", ", 20000000000, 'unmatched'")).await.unwrap();
        assert_eq!(stage.count(steps).await, 1);
        assert_eq!(stage.store.close_day(end).await.unwrap(), 1);
        assert_eq!((stage.count(steps).await, stage.count(WRONG).await), (3, 0));
    }
}

/// 50,000 payments of two merchants in two currencies within 405 days, some of which went back.
const YEAR: [&str; 4] = [
    "INSERT INTO ledger (merchant, order_version, out_trade_no, entry, transaction_id, amount_fen, currency,
                         occurred_at_ms, recorded_at_ms, to_class, payment_version)
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
     SELECT CASE WHEN i % 10 = 0 THEN 'other' ELSE 'main' END, 0, 'Y' || i, 'payment', 'Y' || i, i % 97 + 1,
            CASE WHEN i % 9 = 0 THEN 'USD' ELSE 'CNY' END, 1, CAST(i AS BIGINT) * 700000, 'unmatched', 1 FROM n",
    "INSERT INTO refund_totals (merchant, transaction_id, out_trade_no, paid_fen, reserved_fen, refunded_fen, count,
                                next_call_at_ms)
     SELECT merchant, transaction_id, out_trade_no, amount_fen, amount_fen, amount_fen, 1, 0 FROM ledger
     WHERE amount_fen = 50",
    "INSERT INTO refunds (merchant, refund_no, out_trade_no, transaction_id, version, state, origin, amount_fen,
                          total_fen, requested_by, content_hash, params, sign_type, refund_id, delayed, calls,
                          queries_done, succeeded_at_ms, created_at_ms, updated_at_ms)
     SELECT merchant, 'R' || transaction_id, out_trade_no, transaction_id, 1, 'succeeded', 'api', paid_fen, paid_fen,
            'r', 'h', '{}', 'MD5', 'W' || transaction_id, FALSE, 1, 0, 1, 1, 1 FROM refund_totals",
    "INSERT INTO refund_ledger (merchant, refund, refund_version, out_trade_no, transaction_id, refund_no, refund_id,
                                amount_fen, currency, occurred_at_ms, recorded_at_ms)
     SELECT f.merchant, f.id, 1, f.out_trade_no, f.transaction_id, f.refund_no, f.refund_id, f.amount_fen, l.currency,
            1, l.recorded_at_ms + 5000
     FROM refunds AS f JOIN ledger AS l ON l.merchant = f.merchant AND l.transaction_id = f.transaction_id",
];

/// Closings that are not the plain sum of the rows before them.
const WRONG: &str = "ledger_closings AS c WHERE c.balance_fen <>
    COALESCE((SELECT SUM(l.amount_fen) FROM ledger AS l
              WHERE l.merchant = c.merchant AND l.currency = c.currency AND l.entry = 'payment'
                AND l.recorded_at_ms < c.at_ms), 0)
  - COALESCE((SELECT SUM(r.amount_fen) FROM refund_ledger AS r
              WHERE r.merchant = c.merchant AND r.currency = c.currency AND r.recorded_at_ms < c.at_ms), 0)";

/// On SQLite no other transaction is open while one writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_waits_for_a_late_row_that_is_not_committed() {
    let stage = TestStore::open(crate::harness::db::TestDb::postgres().await).await;
    assert_eq!(stage.store.db().kind(), DbKind::Postgres);
    let main = MerchantKey::parse("main").unwrap();
    stage.execute(&row(1)).await.unwrap();
    let signals = (row(2), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (_, entered, go_on) = signals.clone();
    let db = stage.store.db().clone();
    let late = tokio::spawn(async move {
        let write = db.write("test", signals, |tx, (sql, entered, go_on)| {
            Box::pin(async move {
                tx.execute_unprepared(sql).await?;
                entered.notify_one();
                go_on.notified().await;
                Ok(())
            })
        });
        write.await.unwrap();
    });
    entered.notified().await;
    let store = stage.store.clone();
    // Its wait for the lock has a limit, within which a busy machine may not go on.
    let mut closing = tokio::spawn(async move {
        loop {
            if let Ok(closed) = store.close_day(END).await {
                return closed;
            }
        }
    });
    let waits = "SELECT COUNT(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    loop {
        tokio::select! {
            closed = &mut closing => panic!("it closed {} beside the row", closed.unwrap()),
            waiting = number(stage.store.db(), waits) => if waiting > 0 { break },
        }
    }
    go_on.notify_one();
    late.await.unwrap();
    assert_eq!(within_timeout("the closing", closing).await.unwrap(), 1);
    assert_eq!((stage.count("ledger_closings").await, balance(&stage, &main).await), (1, 3));
    // A row that comes later removes it.
    stage.execute(&row(4)).await.unwrap();
    assert_eq!((stage.count("ledger_closings").await, balance(&stage, &main).await), (0, 7));
}

/// A group of settled payments is one statement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_row_among_others_of_its_statement_ends_its_merchants_closing_alone() {
    let stage = TestStore::open(crate::harness::db::TestDb::postgres().await).await;
    let of = |merchant: &str, n: usize, at: i64| {
        row(n)
            .replace("'main'", &format!("'{merchant}'"))
            .replace(&format!("'CNY', 1, {n}"), &format!("'CNY', 1, {at}"))
    };
    for (n, merchant) in [(1, "main"), (2, "other"), (3, "third")] {
        stage.execute(&of(merchant, n, 1)).await.unwrap();
    }
    assert_eq!(stage.store.close_day(END).await.unwrap(), 3);
    let values = |text: String| text.split_once("VALUES").unwrap().1.to_owned();
    let after = END.as_ms() + 5;
    let late = values(of("main", 5, END.as_ms() - 1));
    let statement = [of("main", 4, after), late, values(of("other", 6, after)), values(of("main", 7, after))].join(",");
    stage.execute(&statement).await.unwrap();
    assert_eq!(stage.count("ledger_closings WHERE merchant = 'main'").await, 0);
    assert_eq!(stage.count("ledger_closings").await, 2, "of the others");
}

/// The lock of closings is held for as long as one sums.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn making_a_webhook_does_not_wait_for_a_closing() {
    let stage = TestStore::open(crate::harness::db::TestDb::postgres().await).await;
    let signals = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered, go_on) = signals.clone();
    let db = stage.store.db().clone();
    let closing = tokio::spawn(async move {
        let write = db.write("test", signals, |tx, (entered, go_on)| {
            Box::pin(async move {
                tx.execute_unprepared("SELECT pg_advisory_xact_lock(7722019)").await?;
                entered.notify_one();
                go_on.notified().await;
                Ok(())
            })
        });
        write.await.unwrap();
    });
    entered.notified().await;
    let (main, at) = (MerchantKey::parse("main").unwrap(), Timestamp::from_ms(1));
    let endpoint = WebhookEndpoint {
        id: "whe_1".into(),
        merchant: main.clone(),
        format: EndpointFormat::Events,
        url: "https://example.com/".into(),
        description: String::new(),
        event_types: Vec::new(),
        secret: "sealed".into(),
        old_secret: None,
        state: EndpointState::Enabled,
        disabled_reason: None,
        disabled_at: None,
        position: 0,
        failing_since: None,
        next_message_at: None,
        replay_first_until: None,
        created_at: at,
        created_by: "test".into(),
        updated_at: at,
    };
    let audit = AuditEntry {
        at,
        actor: "test".into(),
        actor_id: None,
        remote_addr: String::new(),
        action: "webhook.create",
        merchant: Some(main),
        order_no: None,
        transaction_id: None,
        subject: None,
        reason: "test".into(),
        result: "done".into(),
    };
    let made = tokio::time::timeout(Duration::from_secs(30), stage.store.create_webhook(&endpoint, 1, &audit));
    assert!(made.await.expect("it waits for the closing").unwrap());
    go_on.notify_one();
    closing.await.unwrap();
    assert!(!stage.store.create_webhook(&endpoint, 1, &audit).await.unwrap(), "there is one already");
}
