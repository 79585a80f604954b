//! What the browser side and the scheduler keep: users, logins, the platform's tokens, wallet orders, jobs and their
//! runs.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, WEB).await?;
        dialect::run(manager, TOKENS).await?;
        dialect::run(manager, JOBS).await
    }
}

const WEB: &str = "
CREATE TABLE users (
  id {id},
  app TEXT NOT NULL,
  openid TEXT NOT NULL,
  unionid TEXT,
  nickname TEXT,
  avatar_url TEXT,
  is_snapshot BOOLEAN NOT NULL,
  created_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  UNIQUE (app, openid)
)
--;
CREATE TABLE login_codes (
  code_hash TEXT NOT NULL PRIMARY KEY,
  app TEXT NOT NULL,
  state_hash TEXT NOT NULL UNIQUE,
  claimed_at_ms BIGINT NOT NULL,
  outcome TEXT CHECK (outcome IN ('logged_in', 'over', 'failed')),
  user_id BIGINT REFERENCES users (id),
  is_snapshot BOOLEAN NOT NULL,
  finished_at_ms BIGINT,
  CHECK ((outcome IS NULL) = (finished_at_ms IS NULL)),
  CHECK (user_id IS NULL OR outcome = 'logged_in'),
  CHECK (outcome IS NULL OR outcome <> 'logged_in' OR user_id IS NOT NULL)
)
--;
CREATE INDEX login_codes_claimed ON login_codes (claimed_at_ms)
--;
CREATE TABLE wallet_orders (
  app TEXT NOT NULL,
  openid TEXT NOT NULL,
  amount_fen BIGINT NOT NULL CHECK (amount_fen > 0),
  order_no TEXT NOT NULL,
  offered_at_ms BIGINT NOT NULL,
  PRIMARY KEY (app, openid, amount_fen)
)
--;
CREATE INDEX wallet_orders_offered ON wallet_orders (offered_at_ms)
";

const TOKENS: &str = "
CREATE TABLE platform_tokens (
  app TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('access_token', 'jsapi_ticket')),
  sealed TEXT,
  value_hash TEXT,
  fetched_at_ms BIGINT,
  expires_at_ms BIGINT,
  refresh_at_ms BIGINT,
  report TEXT CHECK (report IN ('reported', 'answered')),
  reported_at_ms BIGINT,
  report_refreshes BIGINT NOT NULL CHECK (report_refreshes >= 0),
  failures BIGINT NOT NULL CHECK (failures >= 0),
  next_try_at_ms BIGINT NOT NULL,
  degraded_since_ms BIGINT,
  degraded_reason TEXT,
  degraded_code BIGINT,
  PRIMARY KEY (app, kind),
  CHECK ((sealed IS NULL) = (value_hash IS NULL)),
  CHECK ((sealed IS NULL) = (fetched_at_ms IS NULL)),
  CHECK ((sealed IS NULL) = (expires_at_ms IS NULL)),
  CHECK ((sealed IS NULL) = (refresh_at_ms IS NULL)),
  CHECK (report IS NULL OR sealed IS NOT NULL),
  CHECK ((report IS NULL) = (reported_at_ms IS NULL)),
  CHECK ((degraded_since_ms IS NULL) = (degraded_reason IS NULL)),
  CHECK (degraded_code IS NULL OR degraded_reason IS NOT NULL)
)
";

const JOBS: &str = "
CREATE TABLE jobs (
  name TEXT NOT NULL PRIMARY KEY,
  cron TEXT NOT NULL,
  deadline_ms BIGINT NOT NULL,
  next_due_at_ms BIGINT NOT NULL
)
--;
CREATE TABLE job_reports (
  id {id},
  job TEXT NOT NULL,
  holder TEXT NOT NULL,
  term BIGINT NOT NULL,
  started_at_ms BIGINT NOT NULL,
  ended_at_ms BIGINT,
  outcome TEXT NOT NULL CHECK (outcome IN ('running', 'idle', 'done', 'failed', 'late', 'panic')),
  done BIGINT NOT NULL CHECK (done >= 0),
  detail TEXT,
  CHECK ((outcome = 'running') = (ended_at_ms IS NULL))
)
--;
CREATE INDEX job_reports_job ON job_reports (job, id)
--;
CREATE INDEX job_reports_outcome ON job_reports (job, outcome, id) WHERE outcome <> 'idle'
--;
CREATE INDEX job_reports_started ON job_reports (started_at_ms)
";
