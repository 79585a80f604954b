//! Repairs that go on by themselves, and sums per currency.
//!
//! An older process leaves all of it alone. What it writes has no other currencies: `others` counts only with the run
//! that it was written for.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, CURRENCIES).await?;
        dialect::run(manager, REPAIRS).await
    }
}

/// The columns that were there are of yuan. `others` has the sums of other currencies, `others_red` how many of them
/// have a remainder. A line whose sides are in different currencies explains two amounts.
const CURRENCIES: &str = "
ALTER TABLE reconciliations ADD COLUMN others TEXT
--;
ALTER TABLE reconciliations ADD COLUMN others_run BIGINT
--;
ALTER TABLE reconciliations ADD COLUMN others_red BIGINT
--;
CREATE INDEX reconciliations_red_others ON reconciliations (merchant, day) WHERE others_red > 0
--;
ALTER TABLE reconciliation_lines ADD COLUMN explains_ours_fen BIGINT
";

const REPAIRS: &str = "
ALTER TABLE reconciliation_lines ADD COLUMN asked_at_ms BIGINT
--;
CREATE TABLE reconciliation_repairs (
  merchant TEXT NOT NULL,
  day TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running', 'settling', 'done', 'unsettled')),
  reason TEXT NOT NULL,
  asked_by TEXT NOT NULL,
  asked_by_id TEXT NOT NULL,
  remote_addr TEXT NOT NULL,
  run BIGINT NOT NULL,
  place BIGINT NOT NULL,
  lines BIGINT NOT NULL,
  done BIGINT NOT NULL,
  repaired BIGINT NOT NULL,
  asked BIGINT NOT NULL,
  settled BIGINT NOT NULL,
  tries BIGINT NOT NULL,
  next_at_ms BIGINT,
  started_at_ms BIGINT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  PRIMARY KEY (merchant, day)
)
--;
CREATE INDEX reconciliation_repairs_next ON reconciliation_repairs (next_at_ms) WHERE next_at_ms IS NOT NULL
";
