//! With many orders no filter and no search reads a whole table or sorts one, and a page says how far it compared.

use sea_orm::{ConnectionTrait, Value};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::{AppKey, MerchantKey};
use wxpay_worker::money::Fen;
use wxpay_worker::order::OrderState;
use wxpay_worker::store::{
    DbKind, OrderFilter, OrderFlag, OrderKey, Store, order_list_statements, search_statements, trail_statements,
};
use wxpay_worker::trade::TradeType;

use crate::harness::store::TestStore;
use crate::settling::on_both;

/// Orders of two merchants; most are paid, one in a thousand has a flag.
const ROWS: u32 = 100_000;

const ORDERS: &str = "
     INSERT INTO orders (merchant, order_no, app, state, version, amount_fen, currency, content, content_hash,
                         requested_by, order_token, outcome_unknown, paid_late, paid_twice, amount_mismatch,
                         created_at_ms, expires_at_ms, updated_at_ms, queries_done, next_query_at_ms,
                         transaction_id, paid_at_ms)
     WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
     SELECT CASE WHEN i % 10 = 0 THEN 'other' ELSE 'main' END, 'P' || i, 'shop',
            CASE WHEN i % 5 = 0 THEN 'closed' WHEN i % 501 = 0 THEN 'payable' ELSE 'paid' END, 1, i % 1000 + 1, 'CNY',
            {content}, 'h', '01998a4c-7c3f-7000-8000-000000000000', 't', FALSE, i % 1000 = 1, FALSE, FALSE, i * 10, 1,
            1, 0, NULL,
            CASE WHEN i % 5 <> 0 AND i % 501 <> 0 THEN '' || i END, CASE WHEN i % 5 <> 0 AND i % 501 <> 0 THEN 1 END
     FROM n";

const CONTENT: &str = r#"'{"order_no":"P' || i || '","merchant":"main","app":"shop","amount_fen":' || (i % 1000 + 1) ||
    ',"description":"tea ' || i || '","trade_type":"NATIVE","client_ip":"127.0.0.1","product_id":"p"}'"#;

const FILL: [&str; 8] = [
    "INSERT INTO attempts (order_id, merchant, out_trade_no, n, trade_type, mch_id, appid, sign_type, params, state,
                           created_at_ms)
     SELECT id, merchant, order_no || '00000', 1, CASE WHEN id % 100 = 0 THEN 'JSAPI' ELSE 'NATIVE' END, '1900000109',
            'wx8888888888888888', 'MD5', '{}', 'created', created_at_ms FROM orders",
    "INSERT INTO payments (merchant, transaction_id, version, class, order_id, order_no, out_trade_no, mch_id, appid,
                           amount_fen, currency, paid_at_ms, recorded_at_ms, updated_at_ms)
     SELECT merchant, '4200' || id, 1, 'credited', id, order_no, order_no || '00000', 'm', 'a', amount_fen, 'CNY', 1, 1,
            1 FROM orders WHERE state = 'paid'",
    "INSERT INTO refund_totals (merchant, transaction_id, out_trade_no, order_id, paid_fen, reserved_fen, refunded_fen,
                                count, next_call_at_ms)
     SELECT merchant, transaction_id, out_trade_no, order_id, 1, 1, 0, 1, 0 FROM payments",
    "INSERT INTO refunds (merchant, refund_no, order_id, order_no, out_trade_no, transaction_id, version, state, origin,
                          amount_fen, total_fen, requested_by, content_hash, params, sign_type, delayed, calls,
                          queries_done, next_at_ms, created_at_ms, updated_at_ms)
     SELECT merchant, 'R' || transaction_id, order_id, out_trade_no, out_trade_no, transaction_id, 1, 'requested',
            'api', 1, 1, 'r', 'h', '{}', 'MD5', FALSE, 0, 0, 1, 1, 1 FROM refund_totals",
    "INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms, processed_at_ms,
                                verdict, order_id)
     SELECT order_no, merchant, 'pay', '', '[]', '', 1, 1, 'settled', id FROM orders",
    "INSERT INTO outbox (event_id, merchant, order_no, subject, event_type, payload, created_at_ms, position,
                         relayed_at_ms)
     SELECT order_no, merchant, order_no, 's', 't', '{}', 1, id, 1 FROM orders",
    "INSERT INTO evidence (order_id, version, out_trade_no, source, source_id, fact, received_at_ms, recorded_at_ms)
     SELECT id, 2, order_no, 'query', order_no, '{}', 1, 1 FROM orders",
    "INSERT INTO calls (order_id, number, api, outcome, at_ms, took_ms)
     SELECT id, order_no, 'orderquery', 'done', 1, 1 FROM orders",
];

/// The tables that have many rows.
const FILLED: [&str; 8] = ["orders", "attempts", "payments", "refunds", "notifications", "outbox", "evidence", "calls"];

async fn fill(stage: &TestStore) {
    for first in (1..=ROWS).step_by(20_000) {
        let (last, first) = ((first + 19_999).to_string(), first.to_string());
        let sql = ORDERS.replace("{first}", &first).replace("{last}", &last).replace("{content}", CONTENT);
        stage.execute(&sql).await.unwrap();
    }
    for sql in FILL {
        stage.execute(sql).await.unwrap();
    }
    stage.analyze().await;
}

/// With values in place of the parameters: a plan is made for them.
fn with_values(sql: &str, values: &[Value]) -> String {
    let mut sql = sql.to_owned();
    for (i, value) in values.iter().enumerate().rev() {
        let text = match value {
            Value::BigInt(Some(n)) => n.to_string(),
            Value::String(Some(text)) => format!("'{}'", text.replace('\'', "''")),
            other => panic!("a value of an unknown kind: {other:?}"),
        };
        sql = sql.replace(&format!("${}", i + 1), &text);
    }
    sql
}

async fn plan(store: &Store, sql: &str, values: &[Value]) -> Vec<String> {
    let (explain, column) = match store.db().kind() {
        DbKind::Sqlite => ("EXPLAIN QUERY PLAN", "detail"),
        DbKind::Postgres => ("EXPLAIN", "QUERY PLAN"),
    };
    let sql = format!("{explain} {}", with_values(sql, values));
    let rows = store.db().read().query_all_raw(store.db().statement(sql, [])).await.unwrap();
    rows.iter().map(|row| row.try_get("", column).unwrap()).collect()
}

/// The lines of a plan that read a whole table or sort; `may_sort` where an order's few rows are sorted.
fn wasteful(kind: DbKind, plan: &[String], may_sort: bool) -> Vec<&String> {
    let is_wasteful = |line: &&String| match kind {
        DbKind::Postgres => {
            let scans = FILLED.iter().any(|table| line.contains(&format!("Seq Scan on {table} ")));
            scans || line.contains("Sort") && !may_sort
        }
        DbKind::Sqlite => {
            let aliases = ["o", "a", "p", "r", "e", "n"];
            let scans = FILLED.iter().chain(&aliases).any(|table| line.as_str() == format!("SCAN {table}"));
            line.contains("TEMP B-TREE") && !may_sort || scans || line.starts_with("SCAN notifications")
        }
    };
    plan.iter().filter(is_wasteful).collect()
}

/// Every combination of filters.
fn combinations() -> Vec<(OrderFilter, Option<&'static str>, Option<OrderKey>)> {
    let time = Timestamp::from_ms;
    let merchants = Some(vec![MerchantKey::parse("main").unwrap()]);
    (0_u16..512)
        .map(|bits| {
            let has = |n: u16| bits & (1 << n) != 0;
            let filter = OrderFilter {
                merchants: merchants.clone(),
                state: has(0).then_some(OrderState::Paid),
                flag: has(1).then_some(OrderFlag::PaidLate),
                app: has(2).then(|| AppKey::parse("shop").unwrap()),
                trade_type: has(3).then_some(TradeType::Jsapi),
                from: has(4).then(|| time(100)),
                to: has(5).then(|| time(900_000)),
                min: has(6).then(|| Fen::from_i64(2)),
                max: has(6).then(|| Fen::from_i64(20)),
            };
            let after = has(7).then(|| OrderKey { created_at: time(500_000), id: 50_000 });
            (filter, has(8).then_some("tea 7"), after)
        })
        .collect()
}

on_both! {
    async fn every_combination_of_filters_reads_in_the_order_of_an_index(db: TestDb) {
        let stage = TestStore::open(db).await;
        fill(&stage).await;
        let kind = stage.store.db().kind();
        for (filter, text, after) in combinations() {
            for (sql, values) in order_list_statements(kind, &filter, text, after) {
                let plan = plan(&stage.store, &sql, &values).await;
                assert_eq!(wasteful(kind, &plan, false), [] as [&String; 0], "{sql}\n{values:?}\n{plan:#?}");
                let named = plan.iter().any(|line| ["orders_listed", "orders_flagged", "orders_merchant_order_no"]
                    .iter().any(|index| line.contains(index)) || line.contains("sqlite_autoindex_orders_1"));
                assert!(named, "{sql}\n{plan:#?}");
            }
        }
        let merchants = [MerchantKey::parse("main").unwrap(), MerchantKey::parse("other").unwrap()];
        for number in ["P5", "P500", "01998a4c-7c3f-7"] {
            for (name, sql, values) in search_statements(&merchants, number) {
                let plan = plan(&stage.store, &sql, &values).await;
                assert_eq!(wasteful(kind, &plan, true), [] as [&String; 0], "{name}: {sql}\n{plan:#?}");
                // By the number itself, not by the merchant alone.
                let column = if name == "notification_id" { "event_id" } else { name };
                let by_number = |line: &&String| match kind {
                    DbKind::Sqlite => [">?", "=?"].iter().any(|sign| line.contains(&format!("{column}{sign}"))),
                    DbKind::Postgres => line.contains("Index Cond") && line.contains(&format!("{column} ")),
                };
                assert!(plan.iter().any(|line| by_number(&line)), "{name}: {sql}\n{plan:#?}");
            }
        }
        for (name, sql, values) in trail_statements() {
            let plan = plan(&stage.store, &sql, &values).await;
            assert_eq!(wasteful(kind, &plan, true), [] as [&String; 0], "{name}: {sql}\n{plan:#?}");
        }
    }

    async fn a_rare_order_is_found_over_several_pages_that_say_how_far_they_compared(db: TestDb) {
        let stage = TestStore::open(db).await;
        fill(&stage).await;
        let rare = "UPDATE orders SET amount_fen = 5000 WHERE order_no IN ('P7', 'P99998')";
        stage.execute(rare).await.unwrap();
        let filter = OrderFilter { min: Some(Fen::from_i64(2000)), ..OrderFilter::default() };
        let (mut found, mut after, mut cut) = (Vec::new(), None, 0);
        for _ in 0..200 {
            let page = stage.store.list_orders(&filter, None, after, 10).await.unwrap();
            cut += usize::from(page.is_cut);
            assert!(page.next.is_none() || after.is_none() || page.next < after, "{:?} after {after:?}", page.next);
            found.extend(page.orders.iter().map(|order| order.order.order_no.to_string()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, ["P99998", "P7"]);
        assert!(cut > 0, "no page is cut");
        let whole = stage.store.list_orders(&OrderFilter::default(), None, None, 10).await.unwrap();
        assert!(!whole.is_cut);
        assert_eq!(whole.orders[0].order.order_no.as_str(), "P100000");
    }
}
