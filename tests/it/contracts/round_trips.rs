//! How many statements a write takes on PostgreSQL, counted on the wire: each is a round trip, BEGIN and COMMIT among
//! them. And that statements which travel as one fail as one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use wxpay_worker::config;
use wxpay_worker::event::command::Idempotency;
use wxpay_worker::event::fact::{Fact, Prepay};
use wxpay_worker::ids::{MerchantKey, OutTradeNo};
use wxpay_worker::order::OrderState;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::{DbError, OrderCommit, OrderDecision, Recorded, Store, StoredOrder};

use super::store::orders::{NOW, change, event, merchant, new_order, order_no, payment};
use crate::harness::db::{TestDb, opened};
use crate::harness::store::{TestStore, commit};

/// The first number of a request for TLS, which comes before the startup message.
const TLS_REQUEST: u32 = 80_877_103;

/// Counts the statements that pass on their way to the server.
struct Counter {
    address: SocketAddr,
    statements: Arc<AtomicU64>,
}

impl Counter {
    async fn to(server: &str) -> Counter {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let statements = Arc::new(AtomicU64::new(0));
        let (server, counted) = (server.to_owned(), Arc::clone(&statements));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(&server).await.unwrap();
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let ((from_near, mut to_near), (mut from_far, to_far)) = (near.into_split(), far.into_split());
                // Each ends with its connection.
                tokio::spawn(count(from_near, to_far, Arc::clone(&counted)));
                tokio::spawn(async move { copy(&mut from_far, &mut to_near).await });
            }
        });
        Counter { address, statements }
    }

    async fn of<T>(&self, work: impl Future<Output = T>) -> (u64, T) {
        let before = self.statements.load(Ordering::SeqCst);
        let outcome = work.await;
        (self.statements.load(Ordering::SeqCst) - before, outcome)
    }
}

/// Passes on what the client sends; `Q` is a statement without parameters, `E` the run of one with them.
async fn count(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, statements: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut has_begun = false;
    loop {
        let kind = if has_begun { Some(from.read_u8().await?) } else { None };
        let length = from.read_u32().await?;
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        from.read_exact(&mut body).await?;
        has_begun = has_begun || !body.starts_with(&TLS_REQUEST.to_be_bytes());
        if matches!(kind, Some(b'Q' | b'E')) {
            statements.fetch_add(1, Ordering::SeqCst);
        }
        let message = [kind.as_slice(), &length.to_be_bytes()[..], body.as_slice()].concat();
        to.write_all(&message).await?;
    }
}

async fn counted() -> (TestStore, Counter) {
    let db = TestDb::postgres().await;
    let url = db.url();
    let (user, rest) = url.split_once('@').unwrap();
    let (server, name) = rest.split_once('/').unwrap();
    let counter = Counter::to(server).await;
    let through = Secret::new(format!("{user}@{}/{name}", counter.address));
    let settings = config::Store { url: through, ..db.settings() };
    let store = opened(|| Store::open(&settings)).await;
    store.lease("feed", "relay", Duration::from_secs(600)).await.unwrap().unwrap();
    (TestStore { db, store }, counter)
}

/// The payments of orders that are loaded for it.
struct Pays(u32);

impl OrderDecision for Pays {
    type Outcome = usize;

    fn attempts(&self) -> HashMap<MerchantKey, Vec<OutTradeNo>> {
        HashMap::from([(merchant(), (1..=self.0).map(|n| OutTradeNo::for_attempt(&order_no(n), 1)).collect())])
    }

    fn decide(&self, orders: Vec<StoredOrder>) -> (Vec<OrderCommit>, usize) {
        let pays = |n: u32| {
            let order = orders.iter().find(|stored| stored.order.order_no == order_no(n));
            change(order.unwrap(), n, Fact::Paid(payment(n, n)))
        };
        ((1..=self.0).map(pays).collect(), orders.len())
    }
}

fn prepay() -> Fact {
    Fact::PrepayIssued(Prepay { prepay_id: "wx1".into(), code_url: None, mweb_url: None, issued_at: NOW })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_and_wechats_answer_take_few_statements() {
    let (stage, counter) = counted().await;
    // What a process asks once.
    let first = stage.recorded(9).await;
    commit(&stage.store, &[change(&first, 9, prepay())], NOW).await.unwrap();
    let mut new = new_order(1, 100);
    new.idempotency = Some(Idempotency { api_key: "shop".into(), key: "k1".into() });
    let (statements, recorded) = counter.of(stage.store.record_orders(&[new])).await;
    assert_eq!(recorded.unwrap(), [Recorded::New]);
    assert!(statements <= 4, "BEGIN, the key, the order with its attempt, COMMIT: not {statements}");
    let order = stage.store.order(&merchant(), &order_no(1)).await.unwrap().unwrap();
    let answer = [change(&order, 1, prepay())];
    let (statements, conflicts) = counter.of(commit(&stage.store, &answer, NOW)).await;
    assert!(conflicts.unwrap().is_empty());
    assert!(statements <= 5, "BEGIN, the order, what belongs to it, its event, COMMIT: not {statements}");
    let order = stage.store.order(&merchant(), &order_no(1)).await.unwrap().unwrap().order;
    assert_eq!((order.state, order.version), (OrderState::Payable, 2));
    assert!(order.attempts[0].prepay.is_some());
    for table in ["evidence", "notifications", "outbox WHERE position IS NOT NULL"] {
        assert_eq!(stage.count(table).await, 2, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settling_group_takes_few_statements_however_many_orders_it_has() {
    const ORDERS: u32 = 5;
    let (stage, counter) = counted().await;
    let first = stage.recorded(9).await;
    commit(&stage.store, &[change(&first, 9, prepay())], NOW).await.unwrap();
    for n in 1..=ORDERS {
        stage.recorded(n).await;
    }
    let (statements, settled) = counter.of(stage.store.change_orders(Pays(ORDERS), NOW)).await;
    let (loaded, conflicts) = settled.unwrap();
    assert_eq!((loaded, conflicts.len()), (5, 0));
    assert!(statements <= 7, "not {statements}");
    assert!(statements >= 3, "{statements}: the counter sees the transaction");
    assert_eq!(stage.count("orders WHERE state = 'paid' AND version = 2").await, 5);
    assert_eq!(stage.count("attempts WHERE state = 'paid' AND params = '{}'").await, 5);
    for table in ["payments", "ledger WHERE payment_version = 1 AND entry = 'payment'"] {
        assert_eq!(stage.count(table).await, 5, "{table}");
    }
    for table in ["evidence", "notifications"] {
        assert_eq!(stage.count(table).await, 6, "{table}");
    }
    assert_eq!(stage.count("outbox WHERE position BETWEEN 1 AND 6").await, 6, "positions follow one another");
}

async fn is_untouched(stage: &TestStore) {
    assert_eq!(stage.count("orders WHERE state = 'requested' AND version = 1").await, 3);
    assert_eq!(stage.count("attempts WHERE state = 'created'").await, 3);
    for table in ["payments", "ledger", "notifications", "outbox"] {
        assert_eq!(stage.count(table).await, 0, "{table}");
    }
}

async fn three_orders(stage: &TestStore) -> Vec<OrderCommit> {
    let mut changes = Vec::new();
    for n in 1..=3 {
        changes.push(change(&stage.recorded(n).await, n, Fact::Paid(payment(n, n))));
    }
    changes
}

/// The evidence travels with the payments; what it is refused for is said as if it had gone alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_fails_among_those_it_travels_with_undoes_the_group() {
    let (stage, _counter) = counted().await;
    let changes = three_orders(&stage).await;
    let other = "INSERT INTO evidence (order_id, version, out_trade_no, source, source_id, fact, received_at_ms,
                                       recorded_at_ms)
                 SELECT id, 2, 'another', 'query', 'another', '{}', 0, 0 FROM orders WHERE order_no = 'A000002'";
    stage.execute(other).await.unwrap();
    let refused = commit(&stage.store, &changes, NOW).await;
    assert!(matches!(refused, Err(DbError::Exists(_))), "{refused:?}");
    is_untouched(&stage).await;
    assert_eq!(stage.count("evidence").await, 1);
    // Those that it does not concern are committed when they are decided one by one.
    assert!(commit(&stage.store, &changes[..1], NOW).await.unwrap().is_empty());
    assert_eq!(stage.count("payments").await, 1);
}

/// Without the lock of the feed events are written last, with nothing behind them but COMMIT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_off_until_commit_and_fails_undoes_the_group() {
    let stage = TestStore::open(TestDb::postgres().await).await;
    let mut changes = three_orders(&stage).await;
    let twice = changes[0].events[0].clone();
    changes[2].events.push(twice);
    let refused = commit(&stage.store, &changes, NOW).await;
    assert!(matches!(refused, Err(DbError::Exists(_))), "{refused:?}");
    is_untouched(&stage).await;
    assert_eq!(stage.count("evidence").await, 0);
    changes[2].events = vec![event(3)];
    assert!(commit(&stage.store, &changes, NOW).await.unwrap().is_empty());
    assert_eq!(stage.count("outbox WHERE position IS NULL").await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_changed_meanwhile_is_left_out_with_all_that_travels_as_one() {
    let (stage, counter) = counted().await;
    // What a process asks once.
    let first = stage.recorded(9).await;
    commit(&stage.store, &[change(&first, 9, prepay())], NOW).await.unwrap();
    let changes = three_orders(&stage).await;
    stage.execute("UPDATE orders SET version = 2 WHERE order_no = 'A000002'").await.unwrap();
    let (statements, conflicts) = counter.of(commit(&stage.store, &changes, NOW)).await;
    assert_eq!(conflicts.unwrap().into_iter().collect::<Vec<_>>(), [changes[1].next.id]);
    assert!(statements <= 7, "not {statements}");
    assert_eq!(stage.count("attempts WHERE state = 'created'").await, 1);
    for table in ["payments", "ledger"] {
        assert_eq!(stage.count(table).await, 2, "{table}");
    }
    for table in ["evidence", "notifications", "outbox WHERE position IS NOT NULL"] {
        assert_eq!(stage.count(table).await, 3, "{table}");
    }
    // Decided anew on what is stored, it goes through.
    let stored = stage.store.order(&merchant(), &order_no(2)).await.unwrap().unwrap();
    let anew = [change(&stored, 2, Fact::Paid(payment(2, 2)))];
    assert!(commit(&stage.store, &anew, NOW).await.unwrap().is_empty());
    assert_eq!(stage.count("orders WHERE state = 'paid'").await, 3);
}
