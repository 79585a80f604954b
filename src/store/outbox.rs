//! The transactional outbox, and the feed that finance reads.
//!
//! An event is written in the transaction that makes it true. On SQLite, where write transactions follow one another,
//! it has its position in the feed in the same transaction. On PostgreSQL it is written unplaced, and one relay at a
//! time (see [`super::Lease`]) gives positions in the order of the rows: an order's later change can only be written
//! after its earlier one was committed, so the order per order_no holds. Row numbers alone would not do: PostgreSQL
//! hands them out before the commit, and a reader that has seen 5 would never read a 4 that commits later.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Set};

use super::Store;
use super::db::{DbError, DbKind};
use super::entity::outbox;
use super::evidence::outbox_row;
use super::leases::{Fenced, Lease, holds};
use super::writer::WriteTx;
use crate::clock::Timestamp;
use crate::event::domain::{DomainEvent, EncodedEvent};
use crate::ids::MerchantKey;

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
    /// The CloudEvent as JSON.
    pub payload: String,
}

impl From<outbox::Model> for FeedEvent {
    fn from(row: outbox::Model) -> FeedEvent {
        FeedEvent {
            position: row.position.unwrap_or_default(),
            event_id: row.event_id,
            order_no: row.order_no,
            subject: row.subject,
            payload: row.payload,
        }
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

    /// Whether an event has no position yet.
    pub async fn has_unplaced_events(&self) -> Result<bool, DbError> {
        let sql = "SELECT 1 AS one FROM outbox WHERE position IS NULL LIMIT 1";
        Ok(self.db.read().query_one_raw(self.db.statement(sql, [])).await?.is_some())
    }

    /// Whether a placed event has not been published or marked yet.
    pub async fn has_unrelayed_events(&self) -> Result<bool, DbError> {
        let sql = "SELECT 1 AS one FROM outbox WHERE relayed_at_ms IS NULL AND position IS NOT NULL LIMIT 1";
        Ok(self.db.read().query_one_raw(self.db.statement(sql, [])).await?.is_some())
    }

    /// The oldest placed events that the bus has not got yet.
    pub async fn unrelayed_events(&self, limit: u64) -> Result<Vec<FeedEvent>, DbError> {
        let rows = outbox::Entity::find()
            .filter(outbox::Column::RelayedAtMs.is_null())
            .filter(outbox::Column::Position.is_not_null())
            .order_by_asc(outbox::Column::Position)
            .limit(limit)
            .all(self.db.read())
            .await?;
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
        let mut find = outbox::Entity::find().filter(outbox::Column::Position.gt(cursor));
        if !types.is_empty() {
            find = find.filter(outbox::Column::EventType.is_in(types));
        }
        if let Some(merchants) = merchants {
            find = find.filter(outbox::Column::Merchant.is_in(merchants.iter().map(MerchantKey::as_str)));
        }
        let rows = find.order_by_asc(outbox::Column::Position).limit(limit).all(self.db.read()).await?;
        Ok(rows.into_iter().map(FeedEvent::from).collect())
    }

    /// The feed's last position.
    pub async fn feed_end(&self) -> Result<i64, DbError> {
        let sql = "SELECT COALESCE(MAX(position), 0) AS position FROM outbox";
        let row = self.db.read().query_one_raw(self.db.statement(sql, [])).await?;
        row.map_or(Ok(0), |r| Ok(r.try_get("", "position")?))
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

/// Writes outbox rows inside the transaction that makes the events true.
pub(super) async fn write_events(tx: &WriteTx, mut rows: Vec<outbox::ActiveModel>) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    if tx.kind() == DbKind::Sqlite {
        // Before these: another version of the program writes events unplaced, and a crash may have left some.
        give_positions(tx, i64::MAX).await?;
        let top = tx.one("SELECT COALESCE(MAX(position), 0) AS position FROM outbox", []).await?;
        let top: i64 = top.map_or(Ok(0), |row| row.get("position"))?;
        for (position, row) in (top + 1..).zip(&mut rows) {
            row.position = Set(Some(position));
        }
    }
    tx.insert_all(rows, None).await?;
    Ok(())
}

async fn place(tx: &WriteTx, lease: &Lease, limit: i64) -> Result<Fenced<u64>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    Ok(Fenced::Done(give_positions(tx, limit).await?))
}

async fn give_positions(tx: &WriteTx, limit: i64) -> Result<u64, DbError> {
    let sql = "WITH top AS (SELECT COALESCE(MAX(position), 0) AS position FROM outbox),
           todo AS (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS n
                    FROM (SELECT id FROM outbox WHERE position IS NULL ORDER BY id LIMIT $1) AS waiting)
         UPDATE outbox SET position = top.position + todo.n FROM top, todo WHERE outbox.id = todo.id";
    tx.execute(sql, [limit.into()]).await
}

async fn mark(tx: &WriteTx, lease: &Lease, position: i64, at: Timestamp) -> Result<Fenced<()>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let sql = "UPDATE outbox SET relayed_at_ms = $1 WHERE relayed_at_ms IS NULL AND position <= $2";
    tx.execute(sql, [at.as_ms().into(), position.into()]).await?;
    Ok(Fenced::Done(()))
}
