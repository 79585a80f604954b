//! The erasure of one payer's data, and the key of the names that stand where openids stood.
//!
//! An older process reads none of it. It writes evidence with openids, and accepts sessions that an erasure ended.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, ERASURES).await?;
        // 244 random bits on PostgreSQL, 256 on SQLite.
        let random = match manager.get_database_backend() {
            DbBackend::Postgres => "CAST(gen_random_uuid() AS TEXT) || CAST(gen_random_uuid() AS TEXT)",
            _ => "lower(hex(randomblob(32)))",
        };
        dialect::run(manager, &format!("INSERT INTO payer_keys (one, key) SELECT 1, {random}")).await
    }
}

/// `payer_key_prints` says which keys made names, and is no key. `scope` is JSON: whose rows an erasure may touch, as
/// it was asked for. No pass that began before `last_pass_from_ms` is the last one. `openid` is there until the erasure
/// has ended; `place` is the key of the last row read of `part`, in the `pass`-th way through the tables.
const ERASURES: &str = "
CREATE TABLE payer_keys (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  key TEXT NOT NULL
)
--;
CREATE TABLE payer_key_prints (
  print TEXT NOT NULL PRIMARY KEY
)
--;
CREATE TABLE erasures (
  id {id},
  app TEXT NOT NULL,
  payer TEXT NOT NULL,
  openid TEXT,
  scope TEXT NOT NULL,
  reason TEXT NOT NULL,
  asked_by TEXT NOT NULL,
  asked_by_id TEXT NOT NULL,
  remote_addr TEXT NOT NULL,
  asked_at_ms BIGINT NOT NULL,
  last_pass_from_ms BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'waiting', 'done')),
  pass BIGINT NOT NULL DEFAULT 1,
  began_at_ms BIGINT NOT NULL DEFAULT 0,
  part TEXT NOT NULL DEFAULT 'logins',
  place TEXT NOT NULL DEFAULT '',
  dirty BOOLEAN NOT NULL DEFAULT FALSE,
  found TEXT NOT NULL DEFAULT '{}',
  waits_for TEXT NOT NULL DEFAULT '{}',
  changed BIGINT NOT NULL DEFAULT 0,
  removed BIGINT NOT NULL DEFAULT 0,
  tries BIGINT NOT NULL DEFAULT 0,
  error TEXT,
  next_at_ms BIGINT,
  ended_at_ms BIGINT,
  CHECK ((state = 'done') = (openid IS NULL)),
  CHECK ((state = 'done') = (ended_at_ms IS NOT NULL)),
  CHECK ((state = 'done') = (next_at_ms IS NULL))
)
--;
CREATE UNIQUE INDEX erasures_of_payers ON erasures (app, payer) WHERE state <> 'done'
--;
CREATE INDEX erasures_next ON erasures (next_at_ms) WHERE next_at_ms IS NOT NULL
";
