//! How repairs end: lines of which WeChat gave no conclusive answer, and repairs that were stopped.
//!
//! An older process leaves all of it alone: a repair that was stopped is over for it. It begins another one without
//! removing `stopped_at_ms`, which therefore counts only while it is not before `started_at_ms`.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, REPAIRS).await
    }
}

/// `said` is what WeChat answered last about an open line.
const REPAIRS: &str = "
ALTER TABLE reconciliation_lines ADD COLUMN said TEXT
--;
ALTER TABLE reconciliation_repairs ADD COLUMN stopped_by TEXT
--;
ALTER TABLE reconciliation_repairs ADD COLUMN stopped_at_ms BIGINT
";
