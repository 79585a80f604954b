//! From when on an event counts as relayed, by the bus of the process that wrote it.

use std::time::Duration;

use wxpay_worker::store::{DbKind, Store};

use super::store::jobs::closed;
use super::store::orders::NOW;
use crate::harness::bus::bus_settings;
use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

/// The database as a service with this bus has it.
async fn beside(stage: &TestStore, url: &str) -> Store {
    let bus = bus_settings(url, Vec::new(), 1 << 20);
    Store::open_beside(&stage.db.settings(), &bus).await.unwrap()
}

async fn unrelayed(stage: &TestStore) -> Vec<String> {
    let events = stage.store.unrelayed_events(10).await.unwrap();
    events.into_iter().filter_map(|event| event.order_no).collect()
}

on_both_databases! {
    async fn an_event_is_written_as_relayed_where_no_program_can_subscribe(stage) {
        let embedded = beside(&stage, "embedded:").await;
        let nats = beside(&stage, "nats://127.0.0.1:4222").await;
        // On PostgreSQL a commit gives positions once a process gave the first.
        stage.store.lease("feed", "one", Duration::from_secs(60)).await.unwrap().unwrap();
        embedded.emit(closed(1), NOW).await.unwrap();
        nats.emit(closed(2), NOW).await.unwrap();
        // As a command of the program writes it.
        stage.store.emit(closed(3), NOW).await.unwrap();
        embedded.emit(closed(4), NOW).await.unwrap();
        assert_eq!(unrelayed(&stage).await, ["A000002", "A000003"]);
        let relayed = format!("outbox WHERE relayed_at_ms = {} AND position IN (1, 4)", NOW.as_ms());
        assert_eq!(stage.count(&relayed).await, 2);
        let events = embedded.events_after(0, &[], None, 10).await.unwrap();
        assert_eq!(events.iter().map(|event| event.position).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    async fn an_event_without_a_position_is_left_to_the_relay(stage) {
        let embedded = beside(&stage, "embedded:").await;
        embedded.emit(closed(1), NOW).await.unwrap();
        if stage.store.db().kind() == DbKind::Sqlite {
            // As a process of an old version writes it.
            stage.execute("UPDATE outbox SET position = NULL, relayed_at_ms = NULL").await.unwrap();
            stage.execute("UPDATE feed SET last_position = 0, last_event_id = NULL").await.unwrap();
        }
        assert_eq!(stage.count("outbox WHERE position IS NULL AND relayed_at_ms IS NULL").await, 1);
        stage.store.lease("feed", "one", Duration::from_secs(60)).await.unwrap().unwrap();
        embedded.emit(closed(2), NOW).await.unwrap();
        assert!(!stage.store.has_unplaced_events().await.unwrap(), "the commit behind it places it");
        assert_eq!(unrelayed(&stage).await, ["A000001"]);
    }
}
