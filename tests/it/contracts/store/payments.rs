//! The store contract, payments: one row and one class each, also where a process of the version before enters them.

use sea_orm::{ConnectionTrait, TransactionTrait};
use wxpay_worker::event::fact::{Fact, Payment};
use wxpay_worker::ids::{AppId, MchId, OutTradeNo, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::order::PaymentClass;
use wxpay_worker::store::{DbError, PaymentFilter};

use super::orders::{NOW, change, merchant, order_no};
use crate::harness::db::TestDb;
use crate::harness::store::{TestStore, commit};
use crate::harness::within_timeout;

pub fn payment(n: u32, transaction: u32, fen: i64) -> Payment {
    Payment {
        mch_id: MchId::parse("10000100").unwrap(),
        appid: AppId::parse("wxd930ea5d5a258f4f").unwrap(),
        out_trade_no: OutTradeNo::for_attempt(&order_no(n), 1),
        transaction_id: TransactionId::parse(format!("4200{transaction:024}")).unwrap(),
        total_fee: Fen::from_i64(fen),
        fee_type: "CNY".into(),
        time_end: NOW,
        openid: None,
        bank_type: None,
        cash_fee: None,
        settlement_total_fee: None,
        coupons: Vec::new(),
    }
}

async fn class(stage: &TestStore, transaction: u32) -> Option<PaymentClass> {
    let id = payment(1, transaction, 100).transaction_id;
    stage.store.payment(&merchant(), &id).await.unwrap().map(|p| p.class)
}

on_both_databases! {
    async fn what_a_process_of_the_version_before_enters_gets_its_class(stage) {
        for n in 1..=2 {
            stage.recorded(n).await;
        }
        // As that version writes it: the order first, then its ledger row without a class.
        let paid = "UPDATE orders SET state = 'paid', transaction_id = $1, paid_at_ms = 1, next_query_at_ms = NULL,
                    paid_late = $2, paid_told = $3 WHERE order_no = $4";
        let row = "INSERT INTO ledger (merchant, order_id, order_version, order_no, out_trade_no, entry, transaction_id,
                                       amount_fen, currency, occurred_at_ms, recorded_at_ms)
                   SELECT merchant, id, 2, order_no, order_no, 'payment', $1, 100, 'CNY', 5, 6 FROM orders
                   WHERE order_no = $2";
        for (n, transaction, late) in [(1, 1, false), (2, 2, true)] {
            let id = payment(n, transaction, 100).transaction_id.to_string();
            let number = order_no(n).to_string();
            let values = [id.clone().into(), late.into(), (!late).into(), number.clone().into()];
            stage.store.db().execute("test", String::from(paid), values).await.unwrap();
            stage.store.db().execute("test", String::from(row), [id.into(), number.into()]).await.unwrap();
        }
        assert_eq!(class(&stage, 1).await, Some(PaymentClass::Credited));
        assert_eq!(class(&stage, 2).await, Some(PaymentClass::Held));
        let listed = stage.store.payments(&PaymentFilter::default(), 10).await.unwrap();
        let rows = listed.iter().map(|p| (p.out_trade_no.to_string(), p.amount.as_i64()));
        let newest_first = ["A000002", "A000001"].map(|number| (number.to_owned(), 100));
        assert_eq!(rows.collect::<Vec<_>>(), newest_first);
    }

    async fn what_the_version_before_refunded_whole_is_returned(stage) {
        let order = stage.recorded(1).await;
        let late = Payment { time_end: NOW.after(std::time::Duration::from_secs(9000)), ..payment(1, 1, 100) };
        commit(&stage.store, &[change(&order, 1, Fact::Paid(late.clone()))], NOW).await.unwrap();
        assert_eq!(class(&stage, 1).await, Some(PaymentClass::Held));
        let totals = "INSERT INTO refund_totals (merchant, transaction_id, out_trade_no, order_id, paid_fen,
                                                 reserved_fen,
                                                 refunded_fen, count, next_call_at_ms)
                      SELECT merchant, $1, order_no, id, 100, 100, $2, 1, 0 FROM orders";
        let values = [late.transaction_id.to_string().into(), 60_i64.into()];
        stage.store.db().execute("test", String::from(totals), values).await.unwrap();
        assert_eq!(stage.store.return_refunded(10, NOW).await.unwrap(), 0);
        let rest = "UPDATE refund_totals SET refunded_fen = 100";
        stage.store.db().execute("test", String::from(rest), []).await.unwrap();
        assert_eq!(stage.store.return_refunded(10, NOW).await.unwrap(), 1);
        assert_eq!(class(&stage, 1).await, Some(PaymentClass::Returned));
        assert_eq!(stage.store.return_refunded(10, NOW).await.unwrap(), 0);
    }

    async fn a_payment_of_no_order_becomes_the_order_s_and_never_two_orders(stage) {
        let first = stage.recorded(1).await;
        let second = stage.recorded(2).await;
        let id = payment(1, 1, 100);
        let insert = "INSERT INTO payments (merchant, transaction_id, version, class, out_trade_no, mch_id, appid,
                        amount_fen, currency, paid_at_ms, recorded_at_ms, updated_at_ms)
                      VALUES ($1, $2, 1, 'unmatched', 'A000001', '10000100', 'wx1', 100, 'CNY', 5, 6, 6)";
        let values = [merchant().to_string().into(), id.transaction_id.to_string().into()];
        stage.store.db().execute("test", String::from(insert), values).await.unwrap();
        commit(&stage.store, &[change(&first, 1, Fact::Paid(id.clone()))], NOW).await.unwrap();
        assert_eq!(class(&stage, 1).await, Some(PaymentClass::Credited));
        let matched = "ledger WHERE entry = 'matched' AND from_class = 'unmatched' AND to_class = 'credited'";
        assert_eq!(stage.count(matched).await, 1);
        let twice = Payment { out_trade_no: payment(2, 1, 100).out_trade_no, ..id };
        let refused = commit(&stage.store, &[change(&second, 2, Fact::Paid(twice))], NOW).await;
        assert!(matches!(refused, Err(DbError::Exists(_))), "{refused:?}");
        assert_eq!(stage.count("orders WHERE state = 'paid'").await, 1);
    }
}

/// Another process accepts money and ends a refund after the order's payments were read and before its refunds are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_shown_with_the_money_that_it_had_at_that_moment() {
    let stage = TestStore::open(TestDb::postgres().await).await;
    let paid = change(&stage.recorded(1).await, 1, Fact::Paid(payment(1, 1, 100)));
    commit(&stage.store, &[paid], NOW).await.unwrap();
    let other = sea_orm::Database::connect(stage.db.url()).await.unwrap();
    let mut changes =
        vec!["UPDATE orders SET refunded_fen = refunded_fen + 30", "UPDATE orders SET version = version + 1"];
    while let Some(change) = changes.pop() {
        let read = stage.store.order(&merchant(), &order_no(1)).await.unwrap().unwrap();
        let held = other.begin().await.unwrap();
        held.execute_unprepared("LOCK TABLE refunds IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let store = stage.store.clone();
        let reader = tokio::spawn(async move { store.with_money(std::sync::Arc::new(read)).await });
        let waiting = "pg_locks WHERE mode = 'AccessShareLock' AND NOT granted AND relation = 'refunds'::regclass";
        within_timeout("a reader that waits", async {
            while stage.count(waiting).await == 0 && !reader.is_finished() {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
        held.execute_unprepared(change).await.unwrap();
        held.execute_unprepared("UPDATE payments SET class = 'returned'").await.unwrap();
        held.commit().await.unwrap();
        let shown = match within_timeout("a reader", reader).await.unwrap() {
            Ok(shown) => shown,
            // A busy machine held the lock for longer than a statement waits for it: once more.
            Err(error) if error.is_of_one_statement() => {
                other.execute_unprepared("UPDATE payments SET class = 'credited'").await.unwrap();
                changes.push(change);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let now = stage.store.order(&merchant(), &order_no(1)).await.unwrap().unwrap();
        assert_eq!((shown.order.order.version, shown.order.refunded), (now.order.version, now.refunded), "{change}");
        assert_eq!(shown.payments[0].class, PaymentClass::Returned, "{change}");
        other.execute_unprepared("UPDATE payments SET class = 'credited'").await.unwrap();
    }
}
