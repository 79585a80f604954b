//! What each client has asked to be refunded on a day; and which payments of no order have a row of their own.
//!
//! An older process counts no refunds, and reports payments of no order without the mark.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, CAPS).await?;
        dialect::run(manager, ENTERED).await
    }
}

const CAPS: &str = "
CREATE TABLE refund_caps (
  api_key TEXT NOT NULL,
  day TEXT NOT NULL,
  requested_fen BIGINT NOT NULL CHECK (requested_fen >= 0),
  PRIMARY KEY (api_key, day)
)
";

const ENTERED: &str = "
ALTER TABLE orphaned_payments ADD COLUMN entered BOOLEAN NOT NULL DEFAULT FALSE
--;
UPDATE orphaned_payments SET entered = TRUE WHERE EXISTS (
  SELECT 1 FROM payments AS p
  WHERE p.merchant = orphaned_payments.merchant AND p.transaction_id = orphaned_payments.transaction_id)
--;
CREATE INDEX orphaned_payments_not_entered ON orphaned_payments (told_at_ms) WHERE NOT entered
";
