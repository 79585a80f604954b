//! Until when a process places an order at WeChat, and the version of the order that it claimed.
//!
//! An older process leaves both empty, and what it changes ends a claim: a claim counts only for its version.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, PLACING).await
    }
}

const PLACING: &str = "
ALTER TABLE orders ADD COLUMN placing_until_ms BIGINT
--;
ALTER TABLE orders ADD COLUMN placing_version BIGINT
";
