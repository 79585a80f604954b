//! The results of comparing the books with each other, by merchant and day; and closings that no late row slips past.
//!
//! A row recorded long ago takes a lock that the one who keeps a closing takes alone: the closing has the row, or the
//! row removes the closing. Rows recorded just now take none. The function serves the version before as well.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, CHECKS).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            dialect::run(manager, LATE_ROWS_POSTGRES).await?;
        }
        Ok(())
    }
}

const CHECKS: &str = "
CREATE TABLE book_checks (
  merchant TEXT NOT NULL,
  day TEXT NOT NULL,
  checked_at_ms BIGINT NOT NULL,
  rows_checked BIGINT NOT NULL,
  findings BIGINT NOT NULL,
  found TEXT NOT NULL,
  PRIMARY KEY (merchant, day)
)
--;
CREATE INDEX book_checks_open ON book_checks (merchant, day) WHERE findings > 0
--;
CREATE INDEX refunds_succeeded ON refunds (merchant, succeeded_at_ms) WHERE succeeded_at_ms IS NOT NULL
";

// A closing is kept ten minutes after its time at the earliest.
const LATE_ROWS_POSTGRES: &str = "
CREATE OR REPLACE FUNCTION ledger_closings_end() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF NEW.recorded_at_ms < EXTRACT(EPOCH FROM clock_timestamp()) * 1000 - 300000 THEN
      PERFORM pg_advisory_xact_lock_shared(7722019);
    END IF;
    DELETE FROM ledger_closings WHERE merchant = NEW.merchant AND at_ms > NEW.recorded_at_ms;
    RETURN NULL;
  END $$
";
