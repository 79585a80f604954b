//! What WeChat said against an attempt that it has not refused: words without a signature, an answer that is none.
//!
//! An older process leaves the column as it is.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, "ALTER TABLE attempts ADD COLUMN said TEXT").await
    }
}
