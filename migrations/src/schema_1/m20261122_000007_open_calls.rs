//! What is known of a refund besides its state: until when a call of it may be under way, when WeChat last answered a
//! question about it, and which contradiction was reported.
//!
//! An older process leaves the new columns alone: its calls are not seen as open, as before.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, REFUNDS).await
    }
}

const REFUNDS: &str = "
ALTER TABLE refunds ADD COLUMN call_open_until_ms BIGINT
--;
ALTER TABLE refunds ADD COLUMN answered_at_ms BIGINT
--;
ALTER TABLE refunds ADD COLUMN contradiction TEXT
";
