//! What of a merchant's own setup WeChat refuses, and the orders that wait for it to be corrected.
//!
//! An older process neither reads nor writes any of it: an order that it calls for keeps the count it had.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, FAULTS).await
    }
}

const FAULTS: &str = "
CREATE TABLE merchant_faults (
  merchant TEXT NOT NULL,
  fault TEXT NOT NULL,
  scope TEXT NOT NULL CHECK (scope IN ('calls', 'refunds')),
  code TEXT NOT NULL,
  message TEXT NOT NULL,
  setup TEXT NOT NULL,
  since_ms BIGINT NOT NULL,
  probes BIGINT NOT NULL CHECK (probes >= 0),
  next_probe_at_ms BIGINT NOT NULL,
  PRIMARY KEY (merchant, fault, scope)
)
--;
ALTER TABLE attempts ADD COLUMN setup_refusals BIGINT
--;
CREATE INDEX attempts_setup ON attempts (merchant, order_id) WHERE setup_refusals IS NOT NULL
";
