//! What of each merchant does not work, as it was announced: a row for each incident, the newest of its kind.
//!
//! An older process neither reads nor writes it. What it writes into `merchant_faults` is announced by a newer one.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, HEALTH).await
    }
}

const HEALTH: &str = "
CREATE TABLE merchant_health (
  merchant TEXT NOT NULL,
  what TEXT NOT NULL,
  reason TEXT NOT NULL,
  check_key TEXT NOT NULL,
  code TEXT,
  message TEXT,
  setup TEXT NOT NULL,
  since_ms BIGINT NOT NULL,
  seen_ms BIGINT NOT NULL,
  next_probe_at_ms BIGINT NOT NULL,
  ended_ms BIGINT,
  PRIMARY KEY (merchant, what)
)
";
