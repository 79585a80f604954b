//! How far the intake logs are settled.
//!
//! An older process knows no log and leaves the table alone: it neither writes such logs nor reads them.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, INTAKE).await
    }
}

/// `position` counts bytes of records from the log's beginning.
const INTAKE: &str = "
CREATE TABLE intake_logs (
  log TEXT NOT NULL PRIMARY KEY,
  position BIGINT NOT NULL CHECK (position >= 0),
  opened_at_ms BIGINT NOT NULL
)
";
