//! Payments of no order: which were reported, and which notifications wait for theirs. And a job that has another name
//! now.
//!
//! An older process tells a payment once per copy of its notification, as it did before.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, ORPHANS).await
    }
}

const ORPHANS: &str = "
CREATE TABLE orphaned_payments (
  merchant TEXT NOT NULL,
  transaction_id TEXT NOT NULL,
  notification_id TEXT NOT NULL,
  told_at_ms BIGINT NOT NULL,
  PRIMARY KEY (merchant, transaction_id)
)
--;
INSERT INTO orphaned_payments (merchant, transaction_id, notification_id, told_at_ms)
  SELECT merchant, transaction_id, MIN(event_id), MIN(processed_at_ms) FROM notifications
  WHERE kind = 'pay' AND verdict = 'parked' AND reason = 'unknown_order' AND transaction_id IS NOT NULL
  GROUP BY merchant, transaction_id
--;
CREATE INDEX notifications_waiting ON notifications (processed_at_ms) WHERE verdict = 'waiting'
--;
DELETE FROM job_reports WHERE job = 'far_questions'
--;
DELETE FROM jobs WHERE name = 'far_questions'
";
