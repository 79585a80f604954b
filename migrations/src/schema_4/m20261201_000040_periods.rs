//! Months that are closed: the figures of their days as they were then.
//!
//! A closing is never changed or deleted; reopening a month fills its last columns.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, PERIODS).await?;
        let is_postgres = manager.get_database_backend() == DbBackend::Postgres;
        dialect::run(manager, if is_postgres { FROZEN_POSTGRES } else { FROZEN_SQLITE }).await
    }
}

const PERIODS: &str = "
CREATE TABLE period_closings (
  id {id},
  merchant TEXT NOT NULL,
  month TEXT NOT NULL,
  closed_at_ms BIGINT NOT NULL,
  cut_at_ms BIGINT NOT NULL,
  closed_by TEXT NOT NULL,
  reason TEXT NOT NULL,
  figures TEXT NOT NULL,
  hash TEXT NOT NULL,
  reopened_at_ms BIGINT,
  reopened_by TEXT,
  reopen_reason TEXT,
  CHECK ((reopened_at_ms IS NULL) = (reopened_by IS NULL)),
  CHECK ((reopened_at_ms IS NULL) = (reopen_reason IS NULL))
)
--;
CREATE UNIQUE INDEX period_closings_closed ON period_closings (merchant, month) WHERE reopened_at_ms IS NULL
--;
CREATE INDEX period_closings_month ON period_closings (merchant, month, id)
";

const FROZEN_POSTGRES: &str = "
CREATE FUNCTION period_closings_are_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN RAISE EXCEPTION 'a closed month does not change'; END $$
--;
CREATE TRIGGER period_closings_frozen
  BEFORE UPDATE OF id, merchant, month, closed_at_ms, cut_at_ms, closed_by, reason, figures, hash
  OR DELETE OR TRUNCATE ON period_closings
  FOR EACH STATEMENT EXECUTE FUNCTION period_closings_are_frozen()
";

const FROZEN_SQLITE: &str = "
CREATE TRIGGER period_closings_no_update
  BEFORE UPDATE OF id, merchant, month, closed_at_ms, cut_at_ms, closed_by, reason, figures, hash ON period_closings
  BEGIN SELECT RAISE(ABORT, 'a closed month does not change'); END
--;
CREATE TRIGGER period_closings_no_delete BEFORE DELETE ON period_closings
  BEGIN SELECT RAISE(ABORT, 'a closed month does not change'); END
";
