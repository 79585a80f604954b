//! Rows of the audit that are written once: a view by the same operator of the same object within the same hour.
//!
//! An older process leaves the column empty.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, ONCE).await
    }
}

const ONCE: &str = "
ALTER TABLE audit ADD COLUMN once_key TEXT
--;
CREATE UNIQUE INDEX audit_once ON audit (once_key) WHERE once_key IS NOT NULL
";
