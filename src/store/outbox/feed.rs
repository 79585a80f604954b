//! The transactional outbox, and the feed that finance reads.
//!
//! An event is written in the transaction that makes it true, and has its position in the feed from there: on SQLite,
//! where write transactions follow one another, always; on PostgreSQL where the transaction gets the lock under which
//! positions are given, which it keeps until it ends. Where it does not, the event is written unplaced, and the next
//! one that has the lock, or one relay at a time (see [`crate::store::Lease`]), gives positions in the order of the
//! rows: an order's later change can only be written after its earlier one was committed, so the order per order_no
//! holds. Row numbers alone would not do: PostgreSQL hands them out before the commit, and a reader that has seen 5
//! would never read a 4 that commits later.
//!
//! Where no program outside can subscribe to the bus, a transaction that gives its events their position writes them as
//! relayed: nothing is left to do for them.
//!
//! The last position has a row of its own, and the event that has it is never removed: no position is given out again.

use std::time::Duration;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::write::{UNPLACED, give_positions, write_events};
use crate::clock::Timestamp;
use crate::event::domain::{DomainEvent, EncodedEvent};
use crate::ids::MerchantKey;
use crate::secret::random_text;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::entity::outbox;
use crate::store::evidence::outbox_row;
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::packed::Unreadable;
use crate::store::packed::rows::read_event;
use crate::store::writer::{Reader, WriteTx};

/// The epoch in which a database begins. Another one is a random text, so that no restored database returns to it.
pub const FEED_FIRST_EPOCH: &str = "1";

/// The end of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEnd {
    /// Cursors belong to an epoch.
    pub epoch: String,
    /// The last position; 0 where there has been none.
    pub position: i64,
    /// The event of that position, which may be removed by now.
    pub event_id: Option<String>,
}

/// How far positions and times may be out of order: longer than any transaction takes.
pub(in crate::store) const OUT_OF_ORDER: Duration = Duration::from_secs(15 * 60);

/// A part of the feed.
#[derive(Debug, Clone, Copy)]
pub struct FeedRange {
    /// Behind this position.
    pub after: i64,
    /// Emitted at or after.
    pub since: Option<Timestamp>,
    /// Emitted before.
    pub until: Option<Timestamp>,
}

/// An event with its place in the feed.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    /// Its place; grows.
    pub position: i64,
    /// Its id.
    pub event_id: String,
    /// The order it is about.
    pub order_no: Option<String>,
    /// Where it is published.
    pub subject: String,
    /// The CloudEvent as JSON, or why it cannot be read.
    pub payload: Result<String, Unreadable>,
}

impl From<outbox::Model> for FeedEvent {
    fn from(row: outbox::Model) -> FeedEvent {
        let (subject, payload) = match read_event(&row) {
            Ok((subject, payload)) => (subject, Ok(payload)),
            Err(e) => (row.subject, Err(e)),
        };
        let position = row.position.unwrap_or_default();
        FeedEvent { position, event_id: row.event_id, order_no: row.order_no, subject, payload }
    }
}

impl Store {
    /// Gives up to `limit` unplaced events their position; returns how many. Only the lease's holder may.
    pub async fn place_events(&self, lease: &Lease, limit: i64) -> Result<Fenced<u64>, DbError> {
        let write = (lease.clone(), limit);
        let placed =
            self.db.write("outbox.place", write, |tx, (lease, limit)| Box::pin(place(tx, lease, *limit))).await?;
        if matches!(placed, Fenced::Done(1..)) {
            self.changed();
        }
        Ok(placed)
    }

    /// Notes the last position in the feed's own row, if it has another one. On PostgreSQL no commit does: the row
    /// would have a version for each, which a long snapshot (a dump) keeps. Until then the events say the position, of
    /// which the last is never removed.
    pub async fn note_feed_end(&self) -> Result<(), DbError> {
        let sql = "SELECT 1 AS behind FROM feed WHERE last_position < (SELECT MAX(position) FROM outbox)";
        if self.db.read().query_one_raw(self.db.statement(sql, [])).await?.is_some() {
            self.db.write("feed.note", (), |tx, ()| Box::pin(note_end(tx))).await?;
        }
        Ok(())
    }

    /// Whether an event has no position yet.
    pub async fn has_unplaced_events(&self) -> Result<bool, DbError> {
        Ok(self.db.read().query_one_raw(self.db.statement(UNPLACED, [])).await?.is_some())
    }

    /// Whether a placed event has not been published or marked yet.
    pub async fn has_unrelayed_events(&self) -> Result<bool, DbError> {
        let sql = "SELECT 1 AS one FROM outbox WHERE relayed_at_ms IS NULL AND position IS NOT NULL LIMIT 1";
        Ok(self.db.read().query_one_raw(self.db.statement(sql, [])).await?.is_some())
    }

    /// The oldest placed events that the bus has not got yet.
    pub async fn unrelayed_events(&self, limit: u64) -> Result<Vec<FeedEvent>, DbError> {
        let rows = unrelayed_query(limit).all(self.db.read()).await?;
        Ok(rows.into_iter().map(FeedEvent::from).collect())
    }

    /// Notes that the bus has everything up to `position`.
    pub async fn mark_relayed(&self, lease: &Lease, position: i64, at: Timestamp) -> Result<Fenced<()>, DbError> {
        let write = (lease.clone(), position, at);
        self.db.write("outbox.mark", write, |tx, (lease, position, at)| Box::pin(mark(tx, lease, *position, *at))).await
    }

    /// Events after `cursor` in feed order, of these types (all when empty) and merchants (all where none are given).
    pub async fn events_after(
        &self,
        cursor: i64,
        types: &[String],
        merchants: Option<&[MerchantKey]>,
        limit: u64,
    ) -> Result<Vec<FeedEvent>, DbError> {
        let range = FeedRange { after: cursor, since: None, until: None };
        self.events_between(&range, types, merchants, limit).await
    }

    /// The same of a part of the feed.
    pub async fn events_between(
        &self,
        range: &FeedRange,
        types: &[String],
        merchants: Option<&[MerchantKey]>,
        limit: u64,
    ) -> Result<Vec<FeedEvent>, DbError> {
        let mut find = outbox::Entity::find().filter(outbox::Column::Position.gt(range.after));
        if let Some(since) = range.since {
            find = find.filter(outbox::Column::CreatedAtMs.gte(since.as_ms()));
        }
        if let Some(until) = range.until {
            let end = self.first_position(until.after(OUT_OF_ORDER)).await?;
            find = find.filter(outbox::Column::CreatedAtMs.lt(until.as_ms()));
            find = find.filter(outbox::Column::Position.lt(end));
        }
        if !types.is_empty() {
            find = find.filter(outbox::Column::EventType.is_in(types));
        }
        if let Some(merchants) = merchants {
            find = find.filter(outbox::Column::Merchant.is_in(merchants.iter().map(MerchantKey::as_str)));
        }
        let rows = find.order_by_asc(outbox::Column::Position).limit(limit).all(self.db.read()).await?;
        Ok(rows.into_iter().map(FeedEvent::from).collect())
    }

    /// A position with everything that was emitted at or after `since` behind it.
    pub async fn position_before(&self, since: Timestamp) -> Result<i64, DbError> {
        let early = i64::try_from(OUT_OF_ORDER.as_millis()).unwrap_or(i64::MAX);
        let first = self.first_position(Timestamp::from_ms(since.as_ms().saturating_sub(early))).await?;
        Ok(first.saturating_sub(1))
    }

    /// The first position whose event was emitted at or after `at`, as far as positions follow the times.
    async fn first_position(&self, at: Timestamp) -> Result<i64, DbError> {
        first_position(self.db.reader(), self.feed_end().await?.position, at).await
    }

    /// The feed's end.
    pub async fn feed_end(&self) -> Result<FeedEnd, DbError> {
        let sql = "SELECT f.epoch, f.last_position, f.last_event_id, o.position, o.event_id FROM feed f
                   LEFT JOIN (SELECT position, event_id FROM outbox WHERE position IS NOT NULL
                              ORDER BY position DESC LIMIT 1) AS o ON 1 = 1";
        let row = self.db.read().query_one_raw(self.db.statement(sql, [])).await?;
        let row = row.ok_or_else(|| DbError::Defect("the feed has no row".into()))?;
        let epoch = row.try_get("", "epoch")?;
        let last: i64 = row.try_get("", "last_position")?;
        // An older process leaves the row behind.
        let placed = row.try_get::<Option<i64>>("", "position")?.filter(|placed| *placed > last);
        Ok(match placed {
            Some(position) => FeedEnd { epoch, position, event_id: row.try_get("", "event_id")? },
            None => FeedEnd { epoch, position: last, event_id: row.try_get("", "last_event_id")? },
        })
    }

    /// The event of a position, unless it was removed.
    pub async fn event_id_at(&self, position: i64) -> Result<Option<String>, DbError> {
        let sql = "SELECT event_id FROM outbox WHERE position = $1";
        let row = self.db.read().query_one_raw(self.db.statement(sql, [position.into()])).await?;
        row.map(|row| Ok(row.try_get("", "event_id")?)).transpose()
    }

    /// Begins another epoch of the feed: no cursor given out before is accepted any more.
    pub async fn new_feed_epoch(&self) -> Result<String, DbError> {
        let epoch = random_text(12);
        self.db.execute("feed.epoch", "UPDATE feed SET epoch = $1", [epoch.as_str().into()]).await?;
        self.changed();
        Ok(epoch)
    }

    /// Emits an event that no order's change carries.
    pub async fn emit(&self, event: DomainEvent, at: Timestamp) -> Result<EncodedEvent, DbError> {
        let encoded = event.encode(at);
        self.db
            .write("outbox.emit", encoded.clone(), |tx, encoded| Box::pin(write_events(tx, vec![outbox_row(encoded)])))
            .await?;
        self.changed();
        Ok(encoded)
    }

    /// How many events wait for the bus.
    pub async fn outbox_pending(&self) -> Result<i64, DbError> {
        let sql = "SELECT COUNT(*) AS n FROM outbox WHERE relayed_at_ms IS NULL";
        let row = self.db.read().query_one_raw(self.db.statement(sql, [])).await?;
        row.map_or(Ok(0), |r| Ok(r.try_get("", "n")?))
    }
}

/// Found by bisection, because an index over the times would cost every order its bytes and still leave the sorting.
pub(in crate::store) async fn first_position(reader: Reader<'_>, last: i64, at: Timestamp) -> Result<i64, DbError> {
    let sql = "SELECT position, created_at_ms FROM outbox WHERE position >= $1 ORDER BY position LIMIT 1";
    let (mut low, mut high) = (1, last.saturating_add(1));
    while low < high {
        let middle = low + (high - low) / 2;
        let row = reader.rows(sql, [middle.into()]).await?;
        match row.first() {
            Some(row) if row.get::<i64>("created_at_ms")? < at.as_ms() => low = row.get::<i64>("position")? + 1,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

pub(in crate::store) fn unrelayed_query(limit: u64) -> Select<outbox::Entity> {
    outbox::Entity::find()
        .filter(outbox::Column::RelayedAtMs.is_null())
        .filter(outbox::Column::Position.is_not_null())
        .order_by_asc(outbox::Column::Position)
        .limit(limit)
}

async fn place(tx: &WriteTx, lease: &Lease, limit: i64) -> Result<Fenced<u64>, DbError> {
    if tx.kind() == DbKind::Postgres {
        tx.execute_unprepared("SET LOCAL idle_in_transaction_session_timeout = '4s'").await?;
    }
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let placed = give_positions(tx, limit).await?;
    if placed > 0 {
        note_end(tx).await?;
    }
    Ok(Fenced::Done(placed))
}

async fn note_end(tx: &WriteTx) -> Result<(), DbError> {
    let sql = "UPDATE feed SET last_position = o.position, last_event_id = o.event_id
               FROM (SELECT position, event_id FROM outbox WHERE position IS NOT NULL
                     ORDER BY position DESC LIMIT 1) AS o
               WHERE feed.last_position < o.position";
    tx.execute(sql, []).await?;
    Ok(())
}

async fn mark(tx: &WriteTx, lease: &Lease, position: i64, at: Timestamp) -> Result<Fenced<()>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let sql = "UPDATE outbox SET relayed_at_ms = $1 WHERE relayed_at_ms IS NULL AND position <= $2";
    tx.execute(sql, [at.as_ms().into(), position.into()]).await?;
    Ok(Fenced::Done(()))
}
