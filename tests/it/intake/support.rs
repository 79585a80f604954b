//! Logs of a test.

use std::collections::HashSet;
use std::path::Path;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::EventId;
use wxpay_worker::intake::{Appender, DatabaseId, DeadLog, LogSettings, Owner, Reader, Record, dead_logs};

use crate::harness::within_timeout;

pub const NAME: &str = "notify-aaaaaaaaaaaaaaaaaaaa";

pub fn database() -> DatabaseId {
    DatabaseId::parse("abcdefghij0123456789").unwrap()
}

pub fn record(payload: &[u8]) -> Record {
    Record {
        subject: "pay.in.main.notify.received".into(),
        id: EventId::new(),
        accepted_at: Timestamp::from_ms(1_790_000_000_123),
        payload: payload.to_vec(),
    }
}

pub fn open(parent: &Path, settings: LogSettings) -> (Appender, Reader) {
    wxpay_worker::intake::open(parent, NAME, database(), settings).unwrap()
}

pub fn owner() -> Owner {
    Owner { database: Some(database()), known: HashSet::new() }
}

/// The end of a log's process, as its files see it.
pub async fn die(appender: Appender, mut reader: Reader) {
    appender.close();
    while !within_timeout("the end of the log", reader.take(100)).await.is_empty() {}
}

/// The logs that are taken over, where nothing else lies.
pub fn left(parent: &Path) -> Vec<DeadLog> {
    let listing = dead_logs(parent, &owner()).unwrap();
    assert_eq!(listing.left, []);
    listing.dead
}
