//! What settling needs beside the first payment: what a business asked of an order, polls of orders that have ended,
//! and more sources of evidence.
//!
//! An older process leaves the new columns alone: it opens no attempts by request and polls no closed order.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, ORDERS).await?;
        match manager.get_database_backend() {
            DbBackend::Postgres => dialect::run(manager, &EVIDENCE_POSTGRES.replace("{sources}", SOURCES)).await,
            _ => {
                dialect::run(manager, &EVIDENCE_SQLITE.replace("{sources}", SOURCES)).await?;
                dialect::append_only(manager, "evidence").await
            }
        }
    }
}

const SOURCES: &str = "'notification', 'query', 'unified_order', 'close', 'request', 'bill'";

const ORDERS: &str = "
ALTER TABLE orders ADD COLUMN intent TEXT CHECK (intent IN ('close', 'new_attempt'))
--;
ALTER TABLE orders ADD COLUMN intent_trade_type TEXT
--;
ALTER TABLE orders ADD COLUMN intent_expires_at_ms BIGINT
--;
ALTER TABLE orders ADD COLUMN intent_params TEXT
--;
ALTER TABLE orders ADD COLUMN paid_told BOOLEAN NOT NULL DEFAULT FALSE
--;
ALTER TABLE orders ADD COLUMN next_look_at_ms BIGINT
--;
ALTER TABLE orders ADD COLUMN answered_at_ms BIGINT
--;
CREATE INDEX orders_merchant_next_look ON orders (merchant, next_look_at_ms) WHERE next_look_at_ms IS NOT NULL
--;
CREATE INDEX orders_merchant_next_query ON orders (merchant, next_query_at_ms) WHERE next_query_at_ms IS NOT NULL
";

// The rows that are there obeyed a narrower rule: they need not be read again under a lock that stops the service.
const EVIDENCE_POSTGRES: &str = "
ALTER TABLE evidence DROP CONSTRAINT evidence_source_check
--;
ALTER TABLE evidence ADD CONSTRAINT evidence_source_check CHECK (source IN ({sources})) NOT VALID
";

// SQLite cannot change a constraint: the table is written anew, rows and numbers as they are.
const EVIDENCE_SQLITE: &str = "
CREATE TABLE evidence_new (
  id {id},
  order_id BIGINT NOT NULL REFERENCES orders (id),
  version BIGINT NOT NULL,
  out_trade_no TEXT NOT NULL,
  source TEXT NOT NULL CHECK (source IN ({sources})),
  source_id TEXT NOT NULL,
  fact TEXT NOT NULL,
  raw TEXT,
  verified_by TEXT,
  received_at_ms BIGINT NOT NULL,
  recorded_at_ms BIGINT NOT NULL,
  UNIQUE (order_id, version)
)
--;
INSERT INTO evidence_new SELECT * FROM evidence
--;
DROP TRIGGER evidence_no_update
--;
DROP TRIGGER evidence_no_delete
--;
DROP TABLE evidence
--;
ALTER TABLE evidence_new RENAME TO evidence
";
