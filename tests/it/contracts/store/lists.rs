//! The lists of operators are read in the order of an index, with many rows there; orders by their keys, with none.

use sea_orm::{ConnectionTrait, Database, DbBackend, Statement, TransactionTrait};
use wxpay_worker::store::{ArchiveFilter, AuditFilter, DbKind, DeadLetterFilter, keyed_statements, list_statements};

use super::orders::merchant;
use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

const NUMBERS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)";

const FILL: [&str; 6] = [
    "INSERT INTO orders (merchant, order_no, app, state, version, amount_fen, currency, content, content_hash,
                         requested_by, order_token, outcome_unknown, paid_late, paid_twice, amount_mismatch,
                         created_at_ms, expires_at_ms, updated_at_ms, queries_done)
     {numbers} SELECT 'main', 'D' || i, 'shop', 'payable', 1, 1, 'CNY', '{}', 'h', 'r', 't', FALSE, FALSE, FALSE,
            FALSE, 1, 1, 1, 0 FROM n",
    "INSERT INTO attempts (order_id, merchant, out_trade_no, n, trade_type, mch_id, appid, sign_type, params, state,
                           created_at_ms)
     SELECT id, merchant, order_no, 1, 'JSAPI', '1', 'wx', 'MD5', '{}', 'created', 1 FROM orders",
    "INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms, processed_at_ms,
                                verdict, out_trade_no, transaction_id, order_id)
     SELECT 'e' || id, merchant, 'pay', '', '[]', '', id * 7919 % 1000003, 1,
            CASE WHEN id % 20 = 0 THEN 'parked' ELSE 'settled' END, order_no, 't' || id,
            CASE WHEN id % 20 <> 0 THEN id END FROM orders",
    "INSERT INTO refused_notifications (id, merchant, kind, reason, hash, headers, remote_addr, received_at_ms,
                                        last_received_at_ms, copies, out_trade_no, transaction_id, order_id, state)
     SELECT 'r' || id, merchant, 'pay', 'signature', 'h' || id, '[]', '', id * 7919 % 1000003, 1, 1, order_no,
            't' || id, id, 'refused' FROM orders",
    "INSERT INTO dead_letters (event_id, consumer, subject, headers, payload, reason, first_error, last_error, attempts,
                               parked_at_ms, state, order_no)
     SELECT order_no, 'c', 's', '[]', '', 'r', 'e', 'e', 1, 1, CASE WHEN id % 50 = 0 THEN 'parked' ELSE 'replayed' END,
            order_no FROM orders",
    "INSERT INTO audit (at_ms, actor, remote_addr, action, merchant, order_no, result)
     SELECT 1, 'a', '', CASE WHEN id % 50 = 0 THEN 'payment.accept' ELSE 'refund.request' END, merchant, order_no,
            CASE WHEN id = (SELECT MIN(id) FROM orders) THEN 'rare' ELSE 'done' END FROM orders ORDER BY id",
];

/// The lines of a plan that read a whole table.
fn scans(kind: DbKind, plan: &[String]) -> Vec<&String> {
    let is_scan = |line: &&String| match kind {
        // Nothing is in the tables of payments and refunds.
        DbKind::Postgres => line.contains("Seq Scan") && !line.contains("payments") && !line.contains("refunds"),
        DbKind::Sqlite => line.contains("SCAN ") && !line.contains(" USING ") && !is_small(line),
    };
    plan.iter().filter(is_scan).collect()
}

/// A subquery's own rows, and a table that is read backwards by its number until the page is full.
fn is_small(line: &str) -> bool {
    ["SCAN newest", "SCAN audit", "SCAN dead_letters", "CONSTANT ROW"].iter().any(|small| line.contains(small))
}

on_both_databases! {
    async fn operators_lists_are_read_by_an_index(stage) {
        let kind = stage.store.db().kind();
        for sql in FILL {
            stage.execute(&sql.replace("{numbers}", NUMBERS)).await.unwrap();
        }
        stage.analyze().await;
        let explain = if kind == DbKind::Postgres { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
        for (name, sql, values) in list_statements(&merchant()) {
            let statement = stage.store.db().statement(format!("{explain} {sql}"), values.clone());
            let rows = stage.store.db().read().query_all_raw(statement).await.unwrap();
            let column = if kind == DbKind::Postgres { "QUERY PLAN" } else { "detail" };
            let plan: Vec<String> = rows.iter().map(|row| row.try_get("", column).unwrap()).collect();
            assert_eq!(scans(kind, &plan), [] as [&String; 0], "{name}: {plan:#?}");
            let uses_partial = plan.iter().any(|line| line.contains("notifications_unsettled"));
            assert!(uses_partial || name != "archive, parked", "{plan:#?}");
            let statement = stage.store.db().statement(sql, values);
            let found = stage.store.db().read().query_all_raw(statement).await.unwrap();
            assert!(!found.is_empty() && found.len() <= 50, "{name}: {} rows", found.len());
        }
        the_oldest_row_is_on_a_later_page(&stage).await;
    }
}

/// Of 40,000 rows the oldest alone passes: no page compares them all, and each says where the next one begins.
async fn the_oldest_row_is_on_a_later_page(stage: &TestStore) {
    for (table, first, change) in
        [("dead_letters", "id", "reason = 'rare'"), ("notifications", "received_at_ms", "reason = 'rare'")]
    {
        let sql = format!("UPDATE {table} SET {change} WHERE {first} = (SELECT MIN({first}) FROM {table})");
        stage.execute(&sql).await.unwrap();
    }
    let rare = Some("rare".to_owned());
    let mut audit = AuditFilter { result: rare.clone(), ..AuditFilter::default() };
    let page = stage.store.audit(&audit, 50).await.unwrap();
    assert!(page.rows.is_empty());
    audit.before_id = Some(page.to.expect("20,000 rows are left"));
    assert_eq!(stage.store.audit(&audit, 50).await.unwrap().rows.len(), 1);
    let mut dead = DeadLetterFilter { reason: rare.clone(), ..DeadLetterFilter::default() };
    let page = stage.store.dead_letters(&dead, 50).await.unwrap();
    assert!(page.rows.is_empty());
    dead.before_id = Some(page.to.expect("20,000 rows are left"));
    assert_eq!(stage.store.dead_letters(&dead, 50).await.unwrap().rows.len(), 1);
    let mut archive = ArchiveFilter { reason: rare, ..ArchiveFilter::default() };
    // As far as the table with the newer rows was compared.
    let mut found = Vec::new();
    for n in 0..6 {
        let page = stage.store.archive(&archive, 50).await.unwrap();
        assert!(n > 0 || page.rows.is_empty() && page.to.is_some());
        found.extend(page.rows);
        let Some(to) = page.to else { break };
        archive.before = Some(to);
    }
    assert_eq!((found.len(), found[0].reason.as_deref()), (1, Some("rare")));
}

/// A session keeps the plan of a prepared statement that it made on a new database.
#[tokio::test]
async fn orders_are_found_by_their_keys_with_plans_of_an_empty_database() {
    let stage = TestStore::open(TestDb::postgres().await).await;
    let session = Database::connect(stage.db.url()).await.unwrap().begin().await.unwrap();
    session.execute_unprepared("SET LOCAL plan_cache_mode = force_generic_plan").await.unwrap();
    for (index, sql) in keyed_statements() {
        session.execute_unprepared(&format!("PREPARE by_key (text, text[]) AS {sql}")).await.unwrap();
        let explain = Statement::from_string(DbBackend::Postgres, "EXPLAIN EXECUTE by_key ('main', '{D1}')");
        let rows = session.query_all_raw(explain).await.unwrap();
        let plan: Vec<String> = rows.iter().map(|row| row.try_get("", "QUERY PLAN").unwrap()).collect();
        assert!(plan.iter().any(|line| line.contains(&format!("Scan using {index} "))), "{plan:#?}");
        assert!(!plan.iter().any(|line| line.contains("Seq Scan")), "{plan:#?}");
        session.execute_unprepared("DEALLOCATE by_key").await.unwrap();
    }
}
