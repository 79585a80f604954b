//! Orders, ledgers, outbox and feed: each equality is broken in the database, and the comparison names it.

use serde_json::json;
use wxpay_worker::books::{BookFinding, BookRule, check, due_days, run_due};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::domain::{DomainData, DomainEvent, OrderEnded};
use wxpay_worker::ids::{AppKey, MerchantKey, OrderNo};
use wxpay_worker::money::Fen;
use wxpay_worker::store::BookRange;

use crate::harness::service::{InProcess, TestService};
use crate::harness::store::TestStore;
use crate::settling::on_both;

fn main() -> MerchantKey {
    MerchantKey::parse("main").unwrap()
}

async fn run(service: &InProcess, sql: &str) {
    let sql = sql.to_owned();
    let write = service.store.db().write("test", sql, |tx, sql| Box::pin(tx.execute_unprepared(sql)));
    write.await.unwrap();
}

async fn found(service: &InProcess) -> Vec<BookFinding> {
    let (from, to) = (Timestamp::from_ms(0), Timestamp::from_ms(9_000_000_000_000));
    let range = BookRange { merchant: main(), from, to };
    let checked = check(&service.store.books(), &range).await.unwrap();
    assert_eq!(checked.count, checked.findings.len() as u64);
    checked.findings
}

/// An order that is paid, one whose held payment was accepted, one of which a part went back.
async fn furnished(db: crate::harness::db::TestDb) -> InProcess {
    let service = TestService::new().on(db).refunds().in_process().await;
    service.paid("AG000001").await;
    service.place("AG000002").await;
    let other = json!({"out_trade_no": "AG000002", "total_fee": 70});
    let held = service.wechat_control("pay", other).await["transaction_id"].as_str().unwrap().to_owned();
    service.expect_dead_letters(&["amount_differs"]);
    service.until_number("held money", "SELECT COUNT(*) FROM payments WHERE class = 'held'", |n| n == 1).await;
    let body = json!({"transaction_id": held, "reason": "it is delivered all the same"});
    assert_eq!(service.post("/v1/orders/AG000002/accept", &body).await.0, 200);
    service.paid("AG000003").await;
    let (status, refund) = service.give_back("AG000003", json!({"refund_no": "AGR1", "amount_fen": 30})).await;
    assert!(status < 300, "{refund}");
    service.until_refunded("AGR1", "processing").await;
    service.ends("AGR1", "SUCCESS").await;
    service.until_refunded("AGR1", "succeeded").await;
    service.until_idle().await;
    service
}

/// A change that breaks an equality, and the one that restores it.
struct Broken {
    rule: BookRule,
    about: &'static str,
    by: &'static str,
    mended_by: &'static str,
}

const fn broken(rule: BookRule, about: &'static str, by: &'static str, mended_by: &'static str) -> Broken {
    Broken { rule, about, by, mended_by }
}

const BROKEN: &[Broken] = &[
    broken(
        BookRule::Payment,
        "AG000001",
        "UPDATE payments SET amount_fen = 99 WHERE order_no = 'AG000001'",
        "UPDATE payments SET amount_fen = 100 WHERE order_no = 'AG000001'",
    ),
    broken(
        BookRule::Class,
        "AG000001",
        "UPDATE payments SET class = 'returned' WHERE order_no = 'AG000001'",
        "UPDATE payments SET class = 'credited' WHERE order_no = 'AG000001'",
    ),
    broken(
        BookRule::Order,
        "AG000002",
        "UPDATE orders SET paid_told = FALSE WHERE order_no = 'AG000002'",
        "UPDATE orders SET paid_told = TRUE WHERE order_no = 'AG000002'",
    ),
    broken(
        BookRule::Order,
        "AG000001",
        "UPDATE orders SET order_no = 'AG999999' WHERE order_no = 'AG000001'",
        "UPDATE orders SET order_no = 'AG000001' WHERE order_no = 'AG999999'",
    ),
    broken(
        BookRule::NotEntered,
        "AG000001",
        "UPDATE orders SET transaction_id = 'X' || transaction_id WHERE order_no = 'AG000001'",
        "UPDATE orders SET transaction_id = SUBSTR(transaction_id, 2) WHERE order_no = 'AG000001'",
    ),
    broken(
        BookRule::NotEntered,
        "AG000003",
        "INSERT INTO payments (merchant, transaction_id, version, class, order_id, order_no, out_trade_no, mch_id,
                               appid, amount_fen, currency, paid_at_ms, recorded_at_ms, updated_at_ms)
         SELECT merchant, 'LOST', 1, 'credited', order_id, order_no, out_trade_no, mch_id, appid, amount_fen, currency,
                paid_at_ms, recorded_at_ms, updated_at_ms FROM payments WHERE order_no = 'AG000003'",
        "DELETE FROM payments WHERE transaction_id = 'LOST'",
    ),
    broken(
        BookRule::PaidEvent,
        "AG000001",
        "DELETE FROM outbox WHERE order_no = 'AG000001' AND event_type = 'wxpay.order.paid.v1'",
        RESTORED,
    ),
    broken(
        BookRule::PaidEvent,
        "AG000002",
        "INSERT INTO outbox (event_id, merchant, order_no, subject, event_type, payload, created_at_ms, position,
                             relayed_at_ms, packed)
         SELECT 'twice', merchant, order_no, subject, event_type, payload, created_at_ms,
                (SELECT MAX(position) + 1 FROM outbox), relayed_at_ms, packed
         FROM outbox WHERE order_no = 'AG000002' AND event_type = 'wxpay.order.paid.v1'",
        "DELETE FROM outbox WHERE event_id = 'twice'",
    ),
    broken(
        BookRule::PaidEvent,
        "AG000003",
        "UPDATE outbox SET payload = REPLACE(payload, '\"amount_fen\":100', '\"amount_fen\":10')
         WHERE order_no = 'AG000003' AND event_type = 'wxpay.order.paid.v1'",
        RESTORED,
    ),
    broken(
        BookRule::Announced,
        "AG000003",
        "INSERT INTO outbox (event_id, merchant, order_no, subject, event_type, payload, created_at_ms, position,
                             relayed_at_ms, packed)
         SELECT 'invented', merchant, order_no, subject, event_type, REPLACE(payload, 'AGR1', 'AGR2'), created_at_ms,
                (SELECT MAX(position) + 1 FROM outbox), relayed_at_ms, packed
         FROM outbox WHERE order_no = 'AG000003' AND event_type = 'wxpay.refund.succeeded.v1'",
        "DELETE FROM outbox WHERE event_id = 'invented'",
    ),
    broken(
        BookRule::Refund,
        "AGR1",
        "UPDATE refunds SET amount_fen = 29 WHERE refund_no = 'AGR1'",
        "UPDATE refunds SET amount_fen = 30 WHERE refund_no = 'AGR1'",
    ),
    broken(
        BookRule::RefundTotal,
        "AGR1",
        "UPDATE refund_totals SET refunded_fen = 29 WHERE refunded_fen = 30",
        "UPDATE refund_totals SET refunded_fen = 30 WHERE refunded_fen = 29",
    ),
    broken(
        BookRule::RefundTotal,
        "AG000003",
        "UPDATE orders SET refunded_fen = 31 WHERE order_no = 'AG000003'",
        "UPDATE orders SET refunded_fen = 30 WHERE order_no = 'AG000003'",
    ),
    broken(
        BookRule::RefundEvent,
        "AGR1",
        "DELETE FROM outbox WHERE event_type = 'wxpay.refund.succeeded.v1'",
        RESTORED,
    ),
];

const RESTORED: &str = "DELETE FROM outbox; INSERT INTO outbox SELECT * FROM saved_outbox";

on_both! {
    async fn each_equality_that_is_broken_is_named(db: TestDb) {
        let service = furnished(db).await;
        run(&service, "CREATE TABLE saved_outbox AS SELECT * FROM outbox").await;
        assert_eq!(found(&service).await, []);
        for Broken { rule, about, by, mended_by } in BROKEN {
            // The service must neither mend nor spread it: both statements and the comparison follow at once.
            run(&service, by).await;
            let findings = found(&service).await;
            let is_it = |f: &&BookFinding| f.rule == *rule && f.text().contains(about);
            let finding = findings.iter().find(is_it).unwrap_or_else(|| panic!("{by}: {findings:#?}"));
            assert!(!finding.here.is_empty() && !finding.there.is_empty() && !rule.mend().is_empty());
            run(&service, mended_by).await;
            assert_eq!(found(&service).await, [], "after {mended_by}");
        }
        run(&service, "DROP TABLE saved_outbox").await;
        service.finish().await;
    }

    async fn what_retention_removed_is_no_finding(db: TestDb) {
        let service = furnished(db).await;
        run(&service, "CREATE TABLE saved_outbox AS SELECT * FROM outbox").await;
        let last = service.number("SELECT MAX(position) FROM outbox").await;
        for kept in 1..=last {
            run(&service, &format!("DELETE FROM outbox WHERE position < {kept}")).await;
            assert_eq!(found(&service).await, [], "from {kept} on");
        }
        run(&service, RESTORED).await;
        run(&service, "DELETE FROM outbox WHERE position = 3").await;
        let rules: Vec<BookRule> = found(&service).await.iter().map(|finding| finding.rule).collect();
        assert!(rules.contains(&BookRule::Feed), "a hole between others: {rules:?}");
        run(&service, RESTORED).await;
        run(&service, "DROP TABLE saved_outbox").await;
        service.finish().await;
    }

    async fn an_event_that_no_relay_placed_is_named(db: TestDb) {
        let stage = TestStore::open(db).await;
        let order_no = OrderNo::parse("AG000009").unwrap();
        let data = DomainData::OrderClosed(OrderEnded {
            order_no: order_no.clone(),
            app: AppKey::parse("shop").unwrap(),
            amount_fen: Fen::from_i64(1),
            currency: "CNY",
            wechat: None,
        });
        let event = DomainEvent { merchant: main(), order_no: Some(order_no), data };
        stage.store.emit(event, Timestamp::from_ms(5000)).await.unwrap();
        stage.execute("UPDATE outbox SET position = NULL").await.unwrap();
        let range = BookRange { merchant: main(), from: Timestamp::from_ms(0), to: Timestamp::from_ms(90_000) };
        let checked = check(&stage.store.books(), &range).await.unwrap();
        let rules: Vec<_> = checked.findings.iter().map(|f| (f.rule, f.order_no.as_deref())).collect();
        assert_eq!(rules, [(BookRule::Feed, Some("AG000009"))]);
    }

    async fn a_day_is_compared_once_and_one_that_does_not_agree_until_it_does(db: TestDb) {
        let service = furnished(db).await;
        let metric = "SELECT CAST(COALESCE(SUM(findings), 0) AS BIGINT) FROM book_checks";
        service.skip_to(service.clock.now().next_beijing_midnight());
        run(&service, "UPDATE payments SET amount_fen = 99 WHERE order_no = 'AG000001'").await;
        service.skip(3600);
        service.until_number("the day's finding", metric, |n| n > 0).await;
        let books = service.store.books();
        let open = books.open_checks(&main(), 10).await.unwrap();
        assert_eq!(open.len(), 1);
        assert!(open[0].found.contains("AG000001") && open[0].rows >= 4, "{open:?}");
        assert_eq!(due_days(&books, &main(), service.clock.now()).await.unwrap(), []);
        run(&service, "UPDATE payments SET amount_fen = 100 WHERE order_no = 'AG000001'").await;
        let until = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
        let ran = run_due(&service.store, &[main()], service.clock.now(), until).await.unwrap();
        assert_eq!((ran.findings, service.number(metric).await), (0, 0), "{ran:?}");
        let ran = run_due(&service.store, &[main()], service.clock.now(), until).await.unwrap();
        assert_eq!((ran.days, ran.rows), (0, 0), "once it agrees, a day costs nothing");
        service.finish().await;
    }
}
