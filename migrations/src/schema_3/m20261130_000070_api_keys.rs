//! API keys made over the API, those that were revoked, and when each was last used.
//!
//! An older process reads none of it: it accepts neither a key of the database nor the revocation of one of its file.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, KEYS).await
    }
}

const KEYS: &str = "
CREATE TABLE api_keys (
  seq {id},
  id TEXT NOT NULL UNIQUE,
  client_id TEXT NOT NULL,
  name TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  merchants TEXT,
  expires_at_ms BIGINT,
  refund_cap_fen_per_day BIGINT CHECK (refund_cap_fen_per_day > 0),
  rate_limit_per_second BIGINT CHECK (rate_limit_per_second > 0),
  created_at_ms BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  created_by_id TEXT NOT NULL,
  is_revoked BIGINT NOT NULL CHECK (is_revoked IN (0, 1))
)
--;
CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE is_revoked = 0
--;
CREATE TABLE revoked_api_keys (
  hash TEXT NOT NULL PRIMARY KEY,
  key_id TEXT NOT NULL,
  revoked_at_ms BIGINT NOT NULL,
  revoked_by TEXT NOT NULL,
  reason TEXT NOT NULL
)
--;
CREATE TABLE api_key_uses (
  hash TEXT NOT NULL PRIMARY KEY,
  last_used_ms BIGINT NOT NULL
)
";
