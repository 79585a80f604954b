//! The store contract, what the relay and the scheduler keep there: leases, the outbox, dead letters, deferred
//! messages, due questions; and the quarantine and the schema.

use std::time::Duration;

use wxpay_worker::event::domain::{DomainData, DomainEvent, OrderEnded};
use wxpay_worker::ids::{AppKey, EventId};
use wxpay_worker::money::Fen;
use wxpay_worker::store::{Db, DbKind, Fenced, StoredMessage};

use super::orders::{NOW, event, merchant, order_no};
use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

pub fn closed(n: u32) -> DomainEvent {
    let data = DomainData::OrderClosed(OrderEnded {
        order_no: order_no(n),
        app: AppKey::parse("shop").unwrap(),
        amount_fen: Fen::from_i64(1),
        currency: "CNY",
        wechat: None,
    });
    DomainEvent { merchant: merchant(), order_no: Some(order_no(n)), data }
}

on_both_databases! {
    async fn events_are_placed_in_order_and_only_by_the_leases_holder(stage) {
        let store = &stage.store;
        let first = store.lease("relay", "one", Duration::from_millis(1)).await.unwrap().unwrap();
        let taken = loop {
            if let Some(lease) = store.lease("relay", "two", Duration::from_secs(60)).await.unwrap() { break lease; }
        };
        assert_eq!(taken.term, first.term + 1);
        assert!(store.lease("relay", "one", Duration::from_secs(60)).await.unwrap().is_none());
        for n in 0..5 {
            store.emit(closed(n), NOW).await.unwrap();
        }
        // As another version of the program leaves them on SQLite, and PostgreSQL where others give positions.
        stage.execute("UPDATE outbox SET position = NULL").await.unwrap();
        stage.execute("UPDATE feed SET last_position = 0, last_event_id = NULL").await.unwrap();
        assert_eq!(store.place_events(&first, 10).await.unwrap(), Fenced::Lost, "a zombie placed events");
        assert!(store.events_after(0, &[], None, 10).await.unwrap().is_empty());
        assert_eq!(store.place_events(&taken, 3).await.unwrap(), Fenced::Done(3));
        assert_eq!(store.place_events(&taken, 10).await.unwrap(), Fenced::Done(2));
        let events = store.events_after(0, &[], None, 10).await.unwrap();
        assert_eq!(events.iter().map(|e| e.position).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let order_nos: Vec<_> = events.iter().map(|e| e.order_no.clone().unwrap()).collect();
        assert_eq!(order_nos, (0..5).map(|n| order_no(n).to_string()).collect::<Vec<_>>());
        let closed = store.events_after(3, &["wxpay.order.closed.v1".into()], Some(&[merchant()]), 1).await.unwrap();
        assert_eq!(closed[0].position, 4);
        assert!(store.events_after(0, &["wxpay.order.paid.v1".into()], None, 10).await.unwrap().is_empty());
        assert_eq!(store.mark_relayed(&first, 5, NOW).await.unwrap(), Fenced::Lost, "a zombie marked events");
        assert_eq!(store.mark_relayed(&taken, 2, NOW).await.unwrap(), Fenced::Done(()));
        assert_eq!(store.unrelayed_events(10).await.unwrap()[0].position, 3);
        assert_eq!((store.outbox_pending().await.unwrap(), store.feed_end().await.unwrap().position), (3, 5));
        store.release(&taken).await.unwrap();
        let taken = store.lease("relay", "one", Duration::from_secs(60)).await.unwrap();
        assert!(taken.is_some(), "a released lease is free");
    }

    async fn on_sqlite_an_event_has_its_position_with_its_commit_after_older_ones(stage) {
        if stage.store.db().kind() == DbKind::Postgres {
            stage.store.emit(closed(1), NOW).await.unwrap();
            let end = stage.store.feed_end().await.unwrap().position;
            assert_eq!(end, 0, "PostgreSQL gives row numbers before the commit");
            return;
        }
        for n in [1, 2] {
            stage.store.emit(closed(n), NOW).await.unwrap();
        }
        stage.execute("UPDATE outbox SET position = NULL").await.unwrap();
        stage.execute("UPDATE feed SET last_position = 0, last_event_id = NULL").await.unwrap();
        assert!(stage.store.has_unplaced_events().await.unwrap());
        for n in [3, 4] {
            stage.store.emit(closed(n), NOW).await.unwrap();
        }
        assert_eq!(stage.count("outbox WHERE position = id").await, 4);
        assert!(!stage.store.has_unplaced_events().await.unwrap());
    }

    async fn a_dead_letter_is_kept_and_announced_once(stage) {
        let message = StoredMessage {
            event_id: EventId::new().to_string(),
            consumer: "settle".into(),
            subject: "pay.in.main.notify.received".into(),
            headers: Vec::new(),
            payload: vec![0, 255],
            attempts: 8,
            first_error: "first".into(),
            last_error: "last".into(),
        };
        for _ in 0..2 {
            stage.store.park(&message, "exhausted", None, &event(1), NOW).await.unwrap();
        }
        assert_eq!((stage.count("dead_letters").await, stage.count("outbox").await), (1, 1));
        assert_eq!(stage.store.dead_letters_by_reason().await.unwrap(), [("exhausted".into(), 1)]);
    }

    async fn a_deferred_message_comes_when_due_and_is_forgotten_only_as_it_was(stage) {
        let message = StoredMessage {
            event_id: EventId::new().to_string(),
            consumer: "settle".into(),
            subject: "s".into(),
            headers: vec![("a".into(), "b".into())],
            payload: vec![1],
            attempts: 1,
            first_error: "f".into(),
            last_error: "l".into(),
        };
        let due = NOW.after(Duration::from_secs(30));
        stage.store.defer(&message, due, NOW).await.unwrap();
        assert!(stage.store.due_messages(NOW, 10).await.unwrap().is_empty());
        let read = stage.store.due_messages(due, 10).await.unwrap().pop().unwrap();
        assert_eq!((read.headers.clone(), read.payload.clone()), (message.headers.clone(), message.payload.clone()));
        // It failed again and was deferred anew while the scheduler published it.
        let again = StoredMessage { attempts: 2, headers: vec![("a".into(), "c".into())], ..message.clone() };
        stage.store.defer(&again, due, NOW).await.unwrap();
        stage.store.forget_deferred(&read).await.unwrap();
        assert_eq!(stage.count("deferred").await, 1);
        let read = stage.store.due_messages(due, 10).await.unwrap().pop().unwrap();
        assert_eq!(read.headers, again.headers, "the bus would drop it as a repeat of the publish before");
        stage.store.forget_deferred(&read).await.unwrap();
        assert_eq!(stage.count("deferred").await, 0);
    }

    async fn a_due_question_is_taken_by_one_process_and_comes_again(stage) {
        for n in 0..20 {
            stage.recorded(n).await;
        }
        let at = NOW.after(Duration::from_secs(61));
        let (put_off, merchant) = (Duration::from_secs(60), merchant());
        let lease = stage.store.lease("pending_queries", "leader", put_off).await.unwrap().unwrap();
        let take = |at, limit| {
            let (store, lease, merchant) = (stage.store.clone(), lease.clone(), merchant.clone());
            async move { store.take_due_queries(&lease, &merchant, at, put_off, limit).await.unwrap() }
        };
        let mut taken = Vec::new();
        for taker in (0..4).map(|_| tokio::spawn(take(at, 5))).collect::<Vec<_>>() {
            let Fenced::Done(some) = taker.await.unwrap() else { panic!("the lease is held") };
            assert!(some.len() <= 5, "more than the budget");
            taken.extend(some);
        }
        loop {
            let Fenced::Done(more) = take(at, 5).await else { panic!("the lease is held") };
            if more.is_empty() {
                break;
            }
            taken.extend(more);
        }
        let distinct: std::collections::HashSet<_> = taken.iter().collect();
        assert_eq!((distinct.len(), taken.len()), (20, 20), "a question was asked twice or never");
        let Fenced::Done(again) = take(at.after(put_off), 50).await else { panic!("the lease is held") };
        assert_eq!(again.len(), 20, "a lost question comes again");
        // Another process took over: one that slept through its lease takes nothing.
        stage.store.release(&lease).await.unwrap();
        stage.store.lease("pending_queries", "successor", put_off).await.unwrap().unwrap();
        assert_eq!(take(at.after(put_off * 2), 50).await, Fenced::Lost);
    }

    async fn the_quarantine_is_bounded(stage) {
        for n in 0..210u32 {
            let body = n.to_be_bytes().repeat(2000);
            stage.store.quarantine(&merchant(), "xml", "127.0.0.1:1", &body, NOW).await.unwrap();
        }
        assert_eq!(stage.count("quarantine").await, 200);
        let length = if matches!(stage.db, TestDb::Sqlite(_)) { "length" } else { "octet_length" };
        assert_eq!(stage.count(&format!("quarantine WHERE {length}(body) > 4096")).await, 0);
    }

    async fn migrating_again_or_at_the_same_time_changes_nothing(stage) {
        let db = stage.db.open().await;
        let (a, b) = tokio::join!(db.migrate(), stage.store.db().migrate());
        assert_eq!((a.unwrap(), b.unwrap()), (false, false));
    }

    async fn processes_that_start_at_once_on_an_empty_database_all_come_up(stage) {
        let empty = match &stage.db {
            TestDb::Sqlite(_) => TestDb::empty_sqlite(),
            TestDb::Postgres { .. } => TestDb::empty_postgres().await,
        };
        let settings = empty.settings();
        let starts = (0..4).map(|_| {
            let settings = settings.clone();
            tokio::spawn(async move { Db::connect(&settings).await?.migrate().await })
        });
        let mut changed = 0;
        for start in starts.collect::<Vec<_>>() {
            changed += usize::from(start.await.unwrap().unwrap());
        }
        assert_eq!(changed, 1);
    }
}
