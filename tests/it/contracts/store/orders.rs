//! The store contract, orders and what they leave behind: the same tests on SQLite and on PostgreSQL.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, TransactionTrait};
use tokio::task::JoinHandle;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::command::{Idempotency, OrderContent};
use wxpay_worker::event::domain::{DeadLetterParked, DomainData, DomainEvent, EncodedEvent};
use wxpay_worker::event::fact::{Fact, Payment, Prepay};
use wxpay_worker::ids::{AppId, AppKey, EventId, MchId, MerchantKey, OpenId, OrderNo, OutTradeNo, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::order::{AttemptState, Decision, OrderState, Policy, decide};
use wxpay_worker::store::{
    AttemptParams, DbError, Evidence, EvidenceSource, NewOrder, NotificationKind, NotificationRecord, OrderCommit,
    Posted, Recorded, StoredOrder, Verdict,
};
use wxpay_worker::trade::TradeType;

use crate::harness::db::TestDb;
use crate::harness::store::{TestStore, commit};
use crate::harness::within_timeout;

pub const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

pub fn merchant() -> MerchantKey {
    MerchantKey::parse("main").unwrap()
}

pub fn order_no(n: u32) -> OrderNo {
    OrderNo::parse(format!("A{n:06}")).unwrap()
}

pub fn new_order(n: u32, fen: i64) -> NewOrder {
    let content = OrderContent {
        order_no: order_no(n),
        merchant: merchant(),
        app: AppKey::parse("shop").unwrap(),
        amount_fen: Fen::from_i64(fen),
        description: "测试".into(),
        trade_type: TradeType::Jsapi,
        openid: Some(OpenId::parse("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o").unwrap()),
        client_ip: "127.0.0.1".into(),
        product_id: None,
        scene_info: None,
        attach: None,
        expires_at: None,
        metadata: Some(serde_json::json!({"b": 1, "a": [2]})),
    };
    NewOrder {
        placing_until: None,
        content_hash: content.hash(),
        requested_by: EventId::new(),
        out_trade_no: OutTradeNo::for_attempt(&content.order_no, 1),
        content,
        created_at: NOW,
        expires_at: NOW.after(Duration::from_secs(7200)),
        mch_id: MchId::parse("10000100").unwrap(),
        appid: AppId::parse("wxd930ea5d5a258f4f").unwrap(),
        params: AttemptParams { params: BTreeMap::from([("body".into(), "测试".into())]), sign_type: "MD5".into() },
        idempotency: None,
    }
}

pub fn payment(n: u32, transaction: u32) -> Payment {
    Payment {
        mch_id: MchId::parse("10000100").unwrap(),
        appid: AppId::parse("wxd930ea5d5a258f4f").unwrap(),
        out_trade_no: OutTradeNo::for_attempt(&order_no(n), 1),
        transaction_id: TransactionId::parse(format!("4200{transaction:024}")).unwrap(),
        total_fee: Fen::from_i64(100),
        fee_type: "CNY".into(),
        time_end: NOW.after(Duration::from_secs(9)),
        openid: None,
        bank_type: None,
        cash_fee: None,
        settlement_total_fee: None,
        coupons: Vec::new(),
    }
}

pub fn event(n: u32) -> EncodedEvent {
    let data = DomainData::DeadLetterParked(DeadLetterParked {
        event_id: EventId::new().to_string(),
        consumer: "settle".into(),
        message_subject: "pay.in.main.notify.received".into(),
        reason: "test".into(),
        last_error: n.to_string(),
        attempts: n,
        order_no: None,
    });
    DomainEvent { merchant: merchant(), order_no: Some(order_no(n)), data }.encode(NOW)
}

pub fn posted(body: &str) -> Arc<Posted> {
    Arc::new(Posted::new(body.into(), &[("content-type".into(), "text/xml".into())]))
}

pub fn notification(verdict: Verdict) -> NotificationRecord {
    NotificationRecord {
        kind: NotificationKind::Pay,
        id: EventId::new(),
        merchant: merchant(),
        posted: posted("<xml/>"),
        remote_addr: "127.0.0.1:1".into(),
        received_at: NOW,
        verdict,
        out_trade_no: None,
        transaction_id: None,
        verified_by: None,
        order_id: None,
        replay: None,
    }
}

/// What a fact makes of a stored order, ready to commit, with one event.
pub fn change(stored: &StoredOrder, n: u32, fact: Fact) -> OrderCommit {
    let out_trade_no = OutTradeNo::for_attempt(&order_no(n), 1);
    let Decision::Apply(change) = decide(&stored.order, &out_trade_no, &fact, NOW, Policy::default()) else {
        panic!("nothing to apply")
    };
    let version = change.next.version;
    let evidence = Evidence {
        out_trade_no,
        fact,
        source: EvidenceSource::Query { raw: "<xml/>".into(), verified_by: "MD5 key x".into() },
        received_at: NOW,
        took: None,
        state: change.next.state,
    };
    OrderCommit {
        before: stored.order.version,
        attempts_before: stored.order.attempts.len(),
        next: change.next,
        new_params: Vec::new(),
        wanted: None,
        evidence: vec![(version, evidence)],
        payments: change.payment.map(|p| (version, p)).into_iter().collect(),
        reclassed: None,
        audit: None,
        approved: None,
        events: vec![event(n)],
        notifications: vec![notification(Verdict::Settled)],
        calls: Vec::new(),
        finished: Vec::new(),
        refunds: Vec::new(),
    }
}

fn prepay() -> Fact {
    Fact::PrepayIssued(Prepay { prepay_id: "wx1".into(), code_url: None, mweb_url: None, issued_at: NOW })
}

impl TestStore {
    pub async fn recorded(&self, n: u32) -> StoredOrder {
        self.store.record_orders(&[new_order(n, 100)]).await.unwrap();
        self.read(n).await
    }

    async fn read(&self, n: u32) -> StoredOrder {
        self.store.order(&merchant(), &order_no(n)).await.unwrap().unwrap()
    }
}

on_both_databases! {
    async fn an_order_is_read_as_it_was_recorded(stage) {
        let mut new = new_order(1, 100);
        new.idempotency = Some(Idempotency { api_key: "shop".into(), key: "k1".into() });
        assert_eq!(stage.store.record_orders(&[new.clone()]).await.unwrap(), [Recorded::New]);
        let read = stage.read(1).await;
        assert_eq!(read.content, new.content);
        assert_eq!((read.order.state, read.order.version), (OrderState::Requested, 1));
        assert_eq!(read.order.amount, Fen::from_i64(100));
        assert_eq!(read.params, [new.params.clone()]);
        assert_eq!(read.order.attempts[0].out_trade_no, new.out_trade_no);
        assert!(read.order.queries.next_at.is_some(), "an order whose worker dies must be asked about");
        let by_number = stage.store.orders_by_out_trade_no(&merchant(), &[new.out_trade_no.clone()]).await.unwrap();
        assert_eq!(by_number.len(), 1);
        let key = stage.store.idempotency(new.idempotency.as_ref().unwrap()).await.unwrap().unwrap();
        assert_eq!((key.order_no.as_str(), key.content_hash.as_str()), ("A000001", new.content_hash.as_str()));
    }

    async fn a_number_is_recorded_once_whichever_process_comes_first(stage) {
        let batch = [new_order(1, 100), new_order(2, 100), new_order(1, 100), new_order(1, 200)];
        let recorded = stage.store.record_orders(&batch).await.unwrap();
        assert_eq!(recorded, [Recorded::New, Recorded::New, Recorded::Same, Recorded::Differs]);
        let again = stage.store.record_orders(&[new_order(1, 100), new_order(2, 300)]).await.unwrap();
        assert_eq!(again, [Recorded::Same, Recorded::Differs]);
        assert_eq!((stage.count("orders").await, stage.count("attempts").await), (2, 2));
        let among = [new_order(4, 100), new_order(1, 100), new_order(3, 100), new_order(2, 300)];
        let recorded = stage.store.record_orders(&among).await.unwrap();
        assert_eq!(recorded, [Recorded::New, Recorded::Same, Recorded::New, Recorded::Differs]);
        for n in 1..=4 {
            assert_eq!(stage.read(n).await.order.attempts[0].out_trade_no, new_order(n, 100).out_trade_no);
        }
    }

    async fn keys_of_one_batch_are_claimed_once_each(stage) {
        let keyed = |n, key: &str| {
            let idempotency = Some(Idempotency { api_key: "shop".into(), key: key.into() });
            NewOrder { idempotency, ..new_order(n, 100) }
        };
        let batch = [keyed(1, "b"), keyed(2, "a"), keyed(3, "b"), keyed(1, "b")];
        let recorded = stage.store.record_orders(&batch).await.unwrap();
        assert_eq!(recorded, [Recorded::New, Recorded::New, Recorded::KeyReused, Recorded::Same]);
        let among = [keyed(4, "c"), keyed(5, "b"), keyed(2, "a"), keyed(6, "0")];
        let recorded = stage.store.record_orders(&among).await.unwrap();
        assert_eq!(recorded, [Recorded::New, Recorded::KeyReused, Recorded::Same, Recorded::New]);
        assert_eq!((stage.count("idempotency_keys").await, stage.count("orders").await), (4, 4));
    }

    async fn concurrent_recorders_of_one_number_agree(stage) {
        let tasks = (0..32).map(|i| {
            let store = stage.store.clone();
            tokio::spawn(async move { store.record_orders(&[new_order(1, 100 + i % 2)]).await.unwrap()[0] })
        });
        let mut results = Vec::new();
        for task in tasks.collect::<Vec<_>>() {
            results.push(task.await.unwrap());
        }
        assert_eq!(results.iter().filter(|r| **r == Recorded::New).count(), 1);
        assert_eq!(results.iter().filter(|r| **r == Recorded::Differs).count(), 16);
        assert_eq!(stage.count("orders").await, 1);
    }

    async fn a_number_taken_by_another_orders_attempt_is_refused_whole(stage) {
        stage.recorded(1).await;
        let mut thief = new_order(2, 100);
        thief.out_trade_no = OutTradeNo::for_attempt(&order_no(1), 1);
        assert!(matches!(stage.store.record_orders(&[thief]).await, Err(DbError::Exists(_))));
        assert_eq!((stage.count("orders").await, stage.count("attempts").await), (1, 1));
    }

    async fn a_change_writes_state_evidence_ledger_and_events_together(stage) {
        let stored = stage.recorded(1).await;
        let paid = change(&stored, 1, Fact::Paid(payment(1, 1)));
        assert!(commit(&stage.store, &[paid], NOW).await.unwrap().is_empty());
        let read = stage.read(1).await;
        assert_eq!((read.order.state, read.order.version), (OrderState::Paid, 2));
        assert_eq!(read.order.payments.len(), 1);
        assert_eq!(read.order.paid_by.unwrap().paid_at, NOW.after(Duration::from_secs(9)));
        let history = stage.store.history(stored.order.id).await.unwrap();
        assert_eq!((history.evidence.len(), history.ledger.len()), (1, 1));
        assert_eq!((history.ledger[0].amount_fen, history.ledger[0].order_version), (100, 2));
        assert_eq!((stage.count("outbox").await, stage.count("notifications").await), (1, 1));
    }

    async fn a_change_decided_on_an_old_version_writes_nothing_and_stops_no_other_change(stage) {
        let (one, two) = (stage.recorded(1).await, stage.recorded(2).await);
        let won = change(&one, 1, prepay());
        commit(&stage.store, std::slice::from_ref(&won), NOW).await.unwrap();
        let stale = change(&one, 1, Fact::Paid(payment(1, 1)));
        let fresh = change(&two, 2, Fact::Paid(payment(2, 2)));
        let lost = commit(&stage.store, &[stale, fresh], NOW).await.unwrap();
        assert_eq!(lost.into_iter().collect::<Vec<_>>(), [one.order.id]);
        assert_eq!(stage.read(1).await.order.state, OrderState::Payable);
        assert_eq!(stage.read(2).await.order.state, OrderState::Paid);
        for (table, rows) in [("ledger", 1), ("evidence", 2), ("notifications", 2)] {
            assert_eq!(stage.count(table).await, rows, "{table}");
        }
    }

    async fn one_transaction_pays_one_order_only(stage) {
        let (one, two) = (stage.recorded(1).await, stage.recorded(2).await);
        commit(&stage.store, &[change(&one, 1, Fact::Paid(payment(1, 7)))], NOW).await.unwrap();
        let again = commit(&stage.store, &[change(&two, 2, Fact::Paid(payment(2, 7)))], NOW).await;
        assert!(matches!(again, Err(DbError::Exists(_))), "{again:?}");
        assert_eq!(stage.read(2).await.order.state, OrderState::Requested);
        assert_eq!(stage.count("ledger").await, 1);
    }

    async fn the_ledger_and_the_evidence_can_only_grow(stage) {
        let stored = stage.recorded(1).await;
        commit(&stage.store, &[change(&stored, 1, Fact::Paid(payment(1, 1)))], NOW).await.unwrap();
        for sql in [
            "UPDATE ledger SET amount_fen = 1", "DELETE FROM ledger",
            "UPDATE evidence SET fact = ''", "DELETE FROM evidence",
        ] {
            assert!(stage.execute(sql).await.is_err(), "{sql} went through");
        }
        assert_eq!((stage.count("ledger").await, stage.count("evidence").await), (1, 1));
    }

    async fn columns_are_tied_to_states(stage) {
        stage.recorded(1).await;
        for sql in [
            "UPDATE orders SET state = 'paid'",
            "UPDATE orders SET transaction_id = '1'",
            "UPDATE orders SET paid_late = TRUE",
            "UPDATE orders SET state = 'failed'",
            "UPDATE orders SET state = 'closed'",
            "UPDATE orders SET state = 'gone'",
            "UPDATE orders SET amount_fen = 0",
            "UPDATE orders SET amount_fen = 10000000001",
            "UPDATE orders SET currency = 'USD'",
            "UPDATE attempts SET state = 'payable'",
            "UPDATE attempts SET state = 'paid'",
            "UPDATE attempts SET state = 'failed'",
            "UPDATE attempts SET transaction_id = '1'",
            "UPDATE attempts SET sign_type = 'RSA'",
            "UPDATE attempts SET order_id = 99",
        ] {
            let refused = stage.execute(sql).await.expect_err(sql);
            assert!(matches!(refused, DbError::Defect(_)), "{sql}: not reported as a defect");
        }
    }
}

/// Another process changes the order after its row was read and before its attempts are. On SQLite the statements are
/// the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_changes_while_it_is_read_is_read_as_one_commit_left_it() {
    while changes_while_it_is_read().await.is_none() {}
}

/// Nothing where a busy machine held the lock for longer than a statement waits for it.
async fn changes_while_it_is_read() -> Option<()> {
    let stage = TestStore::open(TestDb::postgres().await).await;
    let before = stage.recorded(1).await;
    let other = sea_orm::Database::connect(stage.db.url()).await.unwrap();
    let held = other.begin().await.unwrap();
    held.execute_unprepared("LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let readers = [
        tokio::spawn({
            let store = stage.store.clone();
            async move { store.order(&merchant(), &order_no(1)).await }
        }),
        tokio::spawn({
            let store = stage.store.clone();
            async move { store.orders_by_ids(&[before.order.id]).await.map(|mut all| all.pop()) }
        }),
        tokio::spawn({
            let store = stage.store.clone();
            let number = OutTradeNo::for_attempt(&order_no(1), 1);
            async move { store.orders_by_out_trade_no(&merchant(), &[number]).await.map(|mut all| all.pop()) }
        }),
    ];
    // By its number of an attempt, the attempts are read first.
    let waiting = "pg_locks WHERE mode = 'AccessShareLock' AND NOT granted AND relation = 'attempts'::regclass";
    within_timeout("readers that wait", async {
        while stage.count(waiting).await < 3 && !readers.iter().any(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for sql in [
        "UPDATE orders SET state = 'closed', version = version + 1, next_query_at_ms = NULL",
        "UPDATE attempts SET state = 'closed'",
    ] {
        held.execute_unprepared(sql).await.unwrap();
    }
    held.commit().await.unwrap();
    for reader in readers {
        let read = match within_timeout("a reader", reader).await.unwrap() {
            Ok(read) => read.unwrap().order,
            Err(error) if error.is_of_one_statement() => return None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!((read.state, read.attempts[0].state), (OrderState::Closed, AttemptState::Closed));
        assert_eq!(read.version, before.order.version + 1);
    }
    Some(())
}
