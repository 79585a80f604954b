//! What an order's history and the list of orders read: calls to WeChat with their duration and WeChat's words, the
//! state that a change left, and indexes over orders by state and time, over those with a flag, and over an order's
//! events.
//!
//! An older process leaves the new columns empty and the new table alone; the indexes are over what it writes, too.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite appends the row's number to every index by itself.
        let id = if manager.get_database_backend() == DbBackend::Postgres { ", id" } else { "" };
        dialect::run(manager, CALLS).await?;
        dialect::run(manager, &INDEXES.replace("{by_id}", id)).await
    }
}

// A call whose answer changed the order is in the evidence, with its duration; `calls` holds the others.
const CALLS: &str = "
ALTER TABLE evidence ADD COLUMN took_ms BIGINT
--;
ALTER TABLE evidence ADD COLUMN state TEXT
--;
ALTER TABLE refund_evidence ADD COLUMN state TEXT
--;
CREATE TABLE calls (
  id {id},
  order_id BIGINT NOT NULL,
  number TEXT NOT NULL,
  api TEXT NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('done', 'refused', 'unknown')),
  code TEXT,
  message TEXT,
  at_ms BIGINT NOT NULL,
  took_ms BIGINT NOT NULL
)
--;
CREATE INDEX calls_order ON calls (order_id)
";

const INDEXES: &str = "
CREATE INDEX orders_listed ON orders (merchant, state, created_at_ms{by_id})
--;
CREATE INDEX orders_flagged ON orders (merchant, created_at_ms{by_id})
  WHERE outcome_unknown OR paid_late OR paid_twice OR amount_mismatch OR paid_before_order
--;
CREATE INDEX outbox_order ON outbox (order_no) WHERE order_no IS NOT NULL
";
