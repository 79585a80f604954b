//! The console's users, their invitations and sessions, and the attempts to log in.
//!
//! Tokens are stored as hashes. An older process leaves the tables alone.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, CONSOLE).await
    }
}

// A user without a password has not used its invitation yet. `merchants` is NULL where all are seen.
const CONSOLE: &str = "
CREATE TABLE console_users (
  id {id},
  name TEXT NOT NULL UNIQUE,
  role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
  grants TEXT NOT NULL,
  merchants TEXT,
  password TEXT,
  password_at_ms BIGINT,
  created_at_ms BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  CHECK ((password IS NULL) = (password_at_ms IS NULL))
)
--;
CREATE TABLE console_invitations (
  user_id BIGINT NOT NULL PRIMARY KEY,
  token_hash TEXT NOT NULL UNIQUE,
  created_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL
)
--;
CREATE TABLE console_sessions (
  id {id},
  token_hash TEXT NOT NULL UNIQUE,
  user_id BIGINT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  seen_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  remote_addr TEXT NOT NULL,
  user_agent TEXT NOT NULL
)
--;
CREATE INDEX console_sessions_user ON console_sessions (user_id)
--;
CREATE INDEX console_sessions_expiry ON console_sessions (expires_at_ms)
--;
CREATE TABLE console_attempts (
  subject TEXT NOT NULL PRIMARY KEY,
  failures BIGINT NOT NULL,
  last_at_ms BIGINT NOT NULL,
  next_at_ms BIGINT NOT NULL
)
--;
CREATE INDEX console_attempts_last ON console_attempts (last_at_ms)
";
