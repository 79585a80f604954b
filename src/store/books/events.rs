//! The outbox and the feed beside the ledgers.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::reader::BooksReader;
use super::rows::BookRange;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::db::DbError;
use crate::store::entity::{ledger, outbox, refund_ledger};
use crate::store::outbox::{FeedEvent, OUT_OF_ORDER, first_position};
use crate::store::writer::Row;

/// Events that one statement reads.
const PAGE: u64 = 500;
/// Rows that must not exist: so many are listed.
const LISTED: u64 = 100;

/// A part of the feed's positions.
#[derive(Debug, Clone, Copy)]
pub struct Positions {
    /// The first one.
    pub from: i64,
    /// The first one behind it.
    pub end: i64,
    /// The last one of the whole feed.
    pub last: i64,
}

/// An event that is not in the feed, or behind which one is missing.
#[derive(Debug, Clone)]
pub struct FeedFault {
    pub event_id: String,
    pub event_type: String,
    pub order_no: Option<String>,
    pub position: Option<i64>,
}

impl BooksReader {
    /// From when on all events are kept: retention removes the oldest.
    pub async fn events_kept_since(&self) -> Result<Timestamp, DbError> {
        let sql = "SELECT position, created_at_ms FROM outbox WHERE position IS NOT NULL ORDER BY position LIMIT 1";
        let rows = self.reader().rows(sql, []).await?;
        let Some(row) = rows.first() else { return Ok(Timestamp::from_ms(0)) };
        let first = Timestamp::from_ms(row.get("created_at_ms")?);
        Ok(if row.get::<i64>("position")? > 1 { first.after(OUT_OF_ORDER) } else { Timestamp::from_ms(0) })
    }

    /// The positions of what was emitted in the range, and of what may stand between.
    pub async fn positions(&self, range: &BookRange) -> Result<Positions, DbError> {
        let reader = self.reader();
        let sql = "SELECT MAX(position) AS last FROM outbox";
        let rows = reader.rows(sql, []).await?;
        let last = rows.first().map(|row| row.get::<Option<i64>>("last")).transpose()?.flatten().unwrap_or_default();
        let from = first_position(reader, last, range.from.before(OUT_OF_ORDER)).await?;
        let end = first_position(reader, last, range.to.after(OUT_OF_ORDER)).await?;
        Ok(Positions { from, end, last })
    }

    /// The next events of these types that were emitted in the range, behind a position; whether they are the last.
    pub async fn events_in(
        &self,
        range: &BookRange,
        positions: Positions,
        types: &[&str],
        after: Option<i64>,
    ) -> Result<(Vec<FeedEvent>, bool), DbError> {
        let find = outbox::Entity::find()
            .filter(outbox::Column::Position.gte(after.map_or(positions.from, |after| after + 1)))
            .filter(outbox::Column::Position.lt(positions.end))
            .filter(outbox::Column::Merchant.eq(range.merchant.as_str()))
            .filter(outbox::Column::EventType.is_in(types.iter().copied()))
            .filter(outbox::Column::CreatedAtMs.gte(range.from.as_ms()))
            .filter(outbox::Column::CreatedAtMs.lt(range.to.as_ms()));
        let rows = self.reader().all(find.order_by_asc(outbox::Column::Position).limit(PAGE)).await?;
        let is_last = (rows.len() as u64) < PAGE;
        Ok((rows.into_iter().map(FeedEvent::from).collect(), is_last))
    }

    /// The events of a type about these orders.
    pub async fn order_events(
        &self,
        merchant: &MerchantKey,
        event_type: &str,
        order_nos: &[String],
    ) -> Result<Vec<FeedEvent>, DbError> {
        let find = outbox::Entity::find()
            .filter(outbox::Column::OrderNo.is_in(order_nos))
            .filter(outbox::Column::EventType.eq(event_type))
            .filter(outbox::Column::Merchant.eq(merchant.as_str()));
        Ok(self.reader().all(find).await?.into_iter().map(FeedEvent::from).collect())
    }

    /// The ledger's rows of these payments, in the order of their entry.
    pub async fn ledger_of(
        &self,
        merchant: &MerchantKey,
        transaction_ids: &[String],
    ) -> Result<Vec<ledger::Model>, DbError> {
        let find = ledger::Entity::find()
            .filter(ledger::Column::Merchant.eq(merchant.as_str()))
            .filter(ledger::Column::Entry.is_in(["payment", "matched", "accepted", "returned"]))
            .filter(ledger::Column::TransactionId.is_in(transaction_ids));
        self.reader().all(find.order_by_asc(ledger::Column::Id)).await
    }

    /// The ledger's rows of these refunds.
    pub async fn refunds_of(
        &self,
        merchant: &MerchantKey,
        refund_nos: &[String],
    ) -> Result<Vec<refund_ledger::Model>, DbError> {
        let find = refund_ledger::Entity::find()
            .filter(refund_ledger::Column::Merchant.eq(merchant.as_str()))
            .filter(refund_ledger::Column::RefundNo.is_in(refund_nos));
        self.reader().all(find).await
    }

    /// Events of the range that have no position.
    pub async fn events_unplaced(&self, range: &BookRange) -> Result<Vec<FeedFault>, DbError> {
        let sql = format!(
            "SELECT event_id, event_type, order_no, position FROM outbox
             WHERE position IS NULL AND merchant = $1 AND created_at_ms >= $2 AND created_at_ms < $3
             ORDER BY id LIMIT {LISTED}"
        );
        let values = [range.merchant.as_str().into(), range.from.as_ms().into(), range.to.as_ms().into()];
        self.reader().rows(&sql, values).await?.iter().map(fault).collect()
    }

    /// Events of the range behind which a position is missing.
    pub async fn feed_gaps(&self, range: &BookRange, positions: Positions) -> Result<Vec<FeedFault>, DbError> {
        let sql = format!(
            "SELECT o.event_id AS event_id, o.event_type AS event_type, o.order_no AS order_no,
                    o.position AS position FROM outbox AS o
             WHERE o.position >= $4 AND o.position < $5 AND o.position < $6 AND o.merchant = $1
               AND o.created_at_ms >= $2 AND o.created_at_ms < $3
               AND NOT EXISTS (SELECT 1 FROM outbox AS n WHERE n.position = o.position + 1)
             ORDER BY o.position LIMIT {LISTED}"
        );
        let values = [
            range.merchant.as_str().into(),
            range.from.as_ms().into(),
            range.to.as_ms().into(),
            positions.from.into(),
            positions.end.into(),
            positions.last.into(),
        ];
        self.reader().rows(&sql, values).await?.iter().map(fault).collect()
    }
}

fn fault(row: &Row) -> Result<FeedFault, DbError> {
    Ok(FeedFault {
        event_id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        order_no: row.get("order_no")?,
        position: row.get("position")?,
    })
}
