//! The embedded bus: messages, who has still to work on them, and how full each stream is.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Deliveries come and go with every message: on SQLite they live in their primary key, without a second tree.
        let keyed = if manager.get_database_backend() == DbBackend::Postgres { "" } else { "WITHOUT ROWID" };
        dialect::run(manager, &BUS.replace("{keyed}", keyed)).await
    }
}

const BUS: &str = "
CREATE TABLE bus_messages (
  seq {id},
  stream TEXT NOT NULL,
  subject TEXT NOT NULL,
  dedupe_key TEXT NOT NULL,
  payload {bytes} NOT NULL,
  headers TEXT NOT NULL,
  size_bytes BIGINT NOT NULL,
  published_at_ms BIGINT NOT NULL,
  UNIQUE (stream, dedupe_key)
)
--;
CREATE TABLE bus_deliveries (
  seq BIGINT NOT NULL,
  consumer TEXT NOT NULL,
  due_at_ms BIGINT NOT NULL,
  deliveries BIGINT NOT NULL CHECK (deliveries >= 0),
  leased BOOLEAN NOT NULL,
  first_error TEXT,
  PRIMARY KEY (seq, consumer)
) {keyed}
--;
CREATE INDEX bus_deliveries_due ON bus_deliveries (consumer, due_at_ms, seq)
--;
CREATE TABLE bus_streams (
  stream TEXT PRIMARY KEY,
  messages BIGINT NOT NULL,
  size_bytes BIGINT NOT NULL
)
";
