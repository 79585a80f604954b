//! Webhooks: endpoints with their place in the feed, what is to be delivered to them, and each attempt. Replays of the
//! kind `webhook`.
//!
//! An older process leaves the new tables alone. A replay of the new kind it cannot read: it gives back the lease, and
//! a process of this version does the work.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, WEBHOOKS).await?;
        let replays = match manager.get_database_backend() {
            DbBackend::Postgres => POSTGRES_REPLAYS,
            _ => SQLITE_REPLAYS,
        };
        dialect::run(manager, replays).await
    }
}

// Of a delivery, `claim` is the process that is sending it, until the database's clock says `claimed_until_ms`.
const WEBHOOKS: &str = "
CREATE TABLE webhook_endpoints (
  id TEXT NOT NULL PRIMARY KEY,
  merchant TEXT NOT NULL,
  url TEXT NOT NULL,
  description TEXT NOT NULL,
  event_types TEXT NOT NULL,
  secret TEXT NOT NULL,
  old_secret TEXT,
  old_secret_until_ms BIGINT,
  state TEXT NOT NULL CHECK (state IN ('enabled', 'disabled', 'deleted')),
  disabled_reason TEXT,
  disabled_at_ms BIGINT,
  position BIGINT NOT NULL,
  failing_since_ms BIGINT,
  created_at_ms BIGINT NOT NULL,
  created_by TEXT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  CHECK ((state = 'disabled') = (disabled_reason IS NOT NULL)),
  CHECK ((state = 'enabled') = (disabled_at_ms IS NULL)),
  CHECK ((old_secret IS NULL) = (old_secret_until_ms IS NULL))
)
--;
CREATE INDEX webhook_endpoints_merchant ON webhook_endpoints (merchant, id)
--;
CREATE TABLE webhook_deliveries (
  id {id},
  endpoint_id TEXT NOT NULL,
  merchant TEXT NOT NULL,
  event_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  order_no TEXT,
  position BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed', 'cancelled')),
  attempts BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  due_at_ms BIGINT NOT NULL,
  first_attempt_at_ms BIGINT,
  last_attempt_at_ms BIGINT,
  last_status BIGINT,
  last_error TEXT,
  claim TEXT,
  claimed_until_ms BIGINT,
  created_at_ms BIGINT NOT NULL,
  ended_at_ms BIGINT,
  UNIQUE (endpoint_id, event_id),
  CHECK ((state = 'pending') = (ended_at_ms IS NULL)),
  CHECK ((claim IS NULL) = (claimed_until_ms IS NULL))
)
--;
CREATE INDEX webhook_deliveries_list ON webhook_deliveries (endpoint_id, id)
--;
CREATE INDEX webhook_deliveries_failed ON webhook_deliveries (endpoint_id, id) WHERE state = 'failed'
--;
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, due_at_ms) WHERE state = 'pending'
--;
CREATE INDEX webhook_deliveries_order ON webhook_deliveries (endpoint_id, order_no, position) WHERE state = 'pending'
--;
CREATE TABLE webhook_attempts (
  id {id},
  endpoint_id TEXT NOT NULL,
  delivery_id BIGINT,
  merchant TEXT NOT NULL,
  event_id TEXT NOT NULL,
  event_type TEXT NOT NULL,
  order_no TEXT,
  cause TEXT NOT NULL CHECK (cause IN ('schedule', 'replay', 'test')),
  outcome TEXT NOT NULL,
  status BIGINT,
  error TEXT,
  url TEXT NOT NULL,
  request_bytes BIGINT NOT NULL,
  answer TEXT,
  started_at_ms BIGINT NOT NULL,
  took_ms BIGINT NOT NULL
)
--;
CREATE INDEX webhook_attempts_endpoint ON webhook_attempts (endpoint_id, id)
--;
CREATE INDEX webhook_attempts_delivery ON webhook_attempts (delivery_id, id)
--;
CREATE INDEX webhook_attempts_order ON webhook_attempts (merchant, order_no, id) WHERE order_no IS NOT NULL
";

const POSTGRES_REPLAYS: &str = "
ALTER TABLE replays DROP CONSTRAINT replays_kind_check
--;
ALTER TABLE replays ADD CONSTRAINT replays_kind_check
  CHECK (kind IN ('notification', 'dead_letter', 'event', 'webhook'))
--;
ALTER TABLE replay_items DROP CONSTRAINT replay_items_source_check
--;
ALTER TABLE replay_items ADD CONSTRAINT replay_items_source_check
  CHECK (source IN ('notification', 'refused', 'sample', 'dead_letter', 'event', 'webhook'))
";

// SQLite changes no constraint of a table: a table without it takes the rows and the name.
const SQLITE_REPLAYS: &str = "
CREATE TABLE replays_2 (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('notification', 'dead_letter', 'event', 'webhook')),
  selection TEXT NOT NULL,
  merchants TEXT,
  reason TEXT NOT NULL,
  rate_per_second BIGINT NOT NULL CHECK (rate_per_second > 0),
  total BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('planned', 'running', 'paused', 'done', 'cancelled')),
  planned_by TEXT NOT NULL,
  started_by TEXT,
  created_at_ms BIGINT NOT NULL,
  started_at_ms BIGINT,
  ended_at_ms BIGINT,
  CHECK ((state IN ('done', 'cancelled')) = (ended_at_ms IS NOT NULL)),
  CHECK ((started_at_ms IS NULL) = (started_by IS NULL)),
  CHECK (state NOT IN ('running', 'paused', 'done') OR started_at_ms IS NOT NULL)
)
--;
INSERT INTO replays_2 (id, kind, selection, merchants, reason, rate_per_second, total, state, planned_by, started_by,
                       created_at_ms, started_at_ms, ended_at_ms)
SELECT id, kind, selection, merchants, reason, rate_per_second, total, state, planned_by, started_by, created_at_ms,
       started_at_ms, ended_at_ms FROM replays
--;
DROP TABLE replays
--;
ALTER TABLE replays_2 RENAME TO replays
--;
CREATE INDEX replays_running ON replays (started_at_ms, id) WHERE state = 'running'
--;
CREATE TABLE replay_items_2 (
  replay_id TEXT NOT NULL,
  n BIGINT NOT NULL,
  source TEXT NOT NULL
    CHECK (source IN ('notification', 'refused', 'sample', 'dead_letter', 'event', 'webhook')),
  source_id TEXT NOT NULL,
  merchant TEXT NOT NULL,
  out_trade_no TEXT,
  predicted TEXT NOT NULL CHECK (predicted IN ('would_settle', 'no_op', 'still_fails')),
  predicted_reason TEXT,
  result TEXT CHECK (result IN ('settled', 'no_op', 'failed')),
  result_reason TEXT,
  error TEXT,
  done_at_ms BIGINT,
  PRIMARY KEY (replay_id, n),
  CHECK ((result IS NULL) = (done_at_ms IS NULL))
)
--;
INSERT INTO replay_items_2 (replay_id, n, source, source_id, merchant, out_trade_no, predicted, predicted_reason,
                            result, result_reason, error, done_at_ms)
SELECT replay_id, n, source, source_id, merchant, out_trade_no, predicted, predicted_reason, result, result_reason,
       error, done_at_ms FROM replay_items
--;
DROP TABLE replay_items
--;
ALTER TABLE replay_items_2 RENAME TO replay_items
--;
CREATE INDEX replay_items_open ON replay_items (replay_id, n) WHERE result IS NULL
";
