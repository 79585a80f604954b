//! A row that cannot be read keeps no other one from being due, and takes no other's place for long.

use std::time::Duration;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::EventId;
use wxpay_worker::store::{AuditEntry, DeliveryState, Fenced, StoredMessage};

use super::store::orders::{NOW, merchant, order_no};
use crate::harness::db::TestDb;
use crate::harness::sql::number;
use crate::harness::store::TestStore;

const MINUTE: Duration = Duration::from_secs(60);

const REFUNDS: [&str; 2] = [
    "INSERT INTO refund_totals (merchant, transaction_id, out_trade_no, order_id, paid_fen, reserved_fen, refunded_fen,
                                count, next_call_at_ms)
     SELECT merchant, order_no, order_no, id, 1, 1, 0, 1, 0 FROM orders",
    "INSERT INTO refunds (merchant, refund_no, order_id, order_no, out_trade_no, transaction_id, version, state, origin,
                          amount_fen, total_fen, requested_by, content_hash, params, sign_type, delayed, calls,
                          queries_done, next_at_ms, created_at_ms, updated_at_ms)
     SELECT merchant, transaction_id, order_id, out_trade_no, out_trade_no, transaction_id, 1, 'requested', 'api', 1, 1,
            'r', 'h', '{}', 'MD5', FALSE, 0, 0, 1, 1, 1 FROM refund_totals",
];

fn message(n: u32) -> StoredMessage {
    StoredMessage {
        event_id: EventId::new().to_string(),
        consumer: "settle".into(),
        subject: format!("s{n}"),
        headers: Vec::new(),
        payload: vec![1],
        attempts: 1,
        first_error: "f".into(),
        last_error: "l".into(),
    }
}

async fn due(stage: &TestStore, at: Timestamp, limit: u64) -> Vec<String> {
    stage.store.due_messages(at, limit).await.unwrap().into_iter().map(|m| m.event_id).collect()
}

on_both_databases! {
    async fn a_deferred_message_that_cannot_be_read_is_put_off_for_longer_each_time(stage) {
        let [damaged, sound] = [message(1), message(2)];
        stage.store.defer(&damaged, NOW, NOW).await.unwrap();
        stage.store.defer(&sound, NOW.after(MINUTE), NOW).await.unwrap();
        stage.execute(&format!("UPDATE deferred SET headers = 'none' WHERE event_id = '{}'", damaged.event_id)).await
            .unwrap();
        let at = NOW.after(MINUTE);
        assert_eq!(due(&stage, at, 10).await, [sound.event_id.as_str()]);
        let due_ms = format!("SELECT next_attempt_at_ms FROM deferred WHERE event_id = '{}'", damaged.event_id);
        let again = at.after(2 * MINUTE);
        assert_eq!(number(stage.store.db(), &due_ms).await, again.as_ms());
        // The place of the oldest is the sound one's.
        assert_eq!(due(&stage, at, 1).await, [sound.event_id.as_str()]);
        assert_eq!(due(&stage, again, 10).await, [sound.event_id.as_str()]);
        assert_eq!(number(stage.store.db(), &due_ms).await, again.after(4 * MINUTE).as_ms());
        assert_eq!(stage.count("deferred").await, 2, "it is kept");
    }

    async fn a_message_that_cannot_be_published_is_put_off_for_an_hour_at_most_and_as_it_was_read(stage) {
        let message = StoredMessage { attempts: 19, ..message(1) };
        stage.store.defer(&message, NOW, NOW).await.unwrap();
        let read = stage.store.due_messages(NOW, 1).await.unwrap().pop().unwrap();
        stage.store.put_off_deferred(&read, NOW).await.unwrap();
        let due_ms = number(stage.store.db(), "SELECT next_attempt_at_ms FROM deferred").await;
        assert_eq!(due_ms, NOW.after(32 * MINUTE).as_ms());
        // It was deferred anew meanwhile.
        stage.store.put_off_deferred(&read, NOW.after(MINUTE)).await.unwrap();
        assert_eq!(number(stage.store.db(), "SELECT next_attempt_at_ms FROM deferred").await, due_ms);
    }

    async fn orders_and_refunds_are_taken_beside_those_that_cannot_be_read(stage) {
        for n in 1..=3 {
            stage.recorded(n).await;
        }
        for sql in REFUNDS {
            stage.execute(sql).await.unwrap();
        }
        let damaged = order_no(2).to_string();
        for (table, column) in [("refunds", "refund_no"), ("orders", "order_no")] {
            let sql = format!("UPDATE {table} SET {column} = 'no number' WHERE {column} = '{damaged}'");
            stage.execute(&sql).await.unwrap();
        }
        let sound = [1, 3].map(|n| order_no(n).to_string());
        let at = NOW.after(2 * MINUTE);
        let lease = stage.store.lease("pending_refunds", "me", MINUTE).await.unwrap().unwrap();
        let taken = stage.store.take_due_refunds(&lease, at, MINUTE, 10).await.unwrap();
        let Fenced::Done(taken) = taken else { panic!("the lease is held") };
        let mut taken: Vec<_> = taken.into_iter().map(|(_, refund_no)| refund_no.to_string()).collect();
        taken.sort();
        assert_eq!(taken, sound);
        let left = format!("SELECT COUNT(*) FROM refunds WHERE next_at_ms <= {}", at.as_ms());
        assert_eq!(number(stage.store.db(), &left).await, 0, "the other one is put off, too");
        let lease = stage.store.lease("pending_queries", "me", MINUTE).await.unwrap().unwrap();
        let taken = stage.store.take_due_queries(&lease, &merchant(), at, MINUTE, 10).await.unwrap();
        let Fenced::Done(taken) = taken else { panic!("the lease is held") };
        let mut taken: Vec<_> = taken.into_iter().map(|order_no| order_no.to_string()).collect();
        taken.sort();
        assert_eq!(taken, sound);
        assert!(!stage.store.has_due_query(&merchant(), at).await.unwrap(), "the other one is put off, too");
    }

    async fn a_waiting_notification_that_cannot_be_read_is_passed_over(stage) {
        let [damaged, sound] = [EventId::new(), EventId::new()];
        for (id, headers, checked_ms) in [(damaged, "none", 1), (sound, "[]", 2)] {
            let sql = format!(
                "INSERT INTO notifications (event_id, merchant, kind, body, headers, remote_addr, received_at_ms,
                                            processed_at_ms, verdict)
                 VALUES ('{id}', 'main', 'pay', '', '{headers}', '', 1, {checked_ms}, 'waiting')"
            );
            stage.execute(&sql).await.unwrap();
        }
        let forgotten = async |limit| {
            let found = stage.store.forgotten_notifications(NOW, NOW.after(MINUTE), limit).await.unwrap();
            found.into_iter().map(|waiting| waiting.id).collect::<Vec<_>>()
        };
        assert_eq!(forgotten(10).await, [sound]);
        assert_eq!(forgotten(1).await, [sound], "the place of the oldest is the sound one's");
        assert_eq!(stage.count("notifications WHERE verdict = 'waiting'").await, 2, "it is kept");
    }
}

/// On SQLite: no other database has a row of which a column holds something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_of_a_webhook_that_cannot_be_read_has_failed_and_keeps_no_later_one_of_its_order() {
    let stage = TestStore::open(TestDb::sqlite()).await;
    for (n, order_no, attempts) in [(1, "o1", "'many'"), (2, "o2", "0"), (3, "o1", "0")] {
        let sql = format!(
            "INSERT INTO webhook_deliveries (endpoint_id, merchant, event_id, event_type, order_no, position, state,
                                             attempts, tries, due_at_ms, created_at_ms)
             VALUES ('w', 'main', 'e{n}', 't', '{order_no}', {n}, 'pending', {attempts}, 0, 1, 1)"
        );
        stage.execute(&sql).await.unwrap();
    }
    let due = async |limit| {
        let due = stage.store.due_deliveries("w", NOW, (limit, false)).await.unwrap();
        due.into_iter().map(|delivery| delivery.event_id).collect::<Vec<_>>()
    };
    assert_eq!(due(1).await, ["e2"], "the place of the oldest is the sound one's");
    assert_eq!(due(10).await, ["e2", "e3"], "the one behind it is due");
    let list = async |state| stage.store.webhook_deliveries("w", state, None, 10).await.unwrap();
    assert_eq!(list(None).await.len(), 3);
    let failed = list(Some(DeliveryState::Failed)).await;
    let [failed] = failed.as_slice() else { panic!("{failed:?}") };
    assert_eq!((failed.event_id.as_str(), failed.attempts), ("e1", 0));
    assert_eq!((failed.last_error.as_deref(), failed.ended_at), (Some("event_unreadable"), Some(NOW)));
    // Mended and recovered, it goes first again.
    stage.execute("UPDATE webhook_deliveries SET attempts = 0").await.unwrap();
    stage.store.recover_deliveries("w", None, &recovery()).await.unwrap();
    assert_eq!(due(10).await, ["e1", "e2"]);
}

fn recovery() -> AuditEntry {
    AuditEntry {
        at: NOW,
        actor: "operator".into(),
        actor_id: None,
        remote_addr: String::new(),
        action: "webhook.recover",
        merchant: Some(merchant()),
        order_no: None,
        transaction_id: None,
        subject: None,
        reason: "mended".into(),
        result: "done".into(),
    }
}
