//! Replays: what an operator selected, with a prediction and a result for each item.
//!
//! An older process leaves the tables alone.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, REPLAYS).await
    }
}

// The items are written first, in steps; the row of their replay comes last and makes them count.
const REPLAYS: &str = "
CREATE TABLE replays (
  id TEXT NOT NULL PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('notification', 'dead_letter', 'event')),
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
CREATE INDEX replays_running ON replays (started_at_ms, id) WHERE state = 'running'
--;
CREATE TABLE replay_items (
  replay_id TEXT NOT NULL,
  n BIGINT NOT NULL,
  source TEXT NOT NULL CHECK (source IN ('notification', 'refused', 'sample', 'dead_letter', 'event')),
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
CREATE INDEX replay_items_open ON replay_items (replay_id, n) WHERE result IS NULL
";
