//! With what a platform token is fetched, and until when its value is in doubt.
//!
//! An older process leaves the new columns alone: it neither sees a changed app nor doubts a value.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, TOKENS).await
    }
}

const TOKENS: &str = "
ALTER TABLE platform_tokens ADD COLUMN fingerprint TEXT
--;
ALTER TABLE platform_tokens ADD COLUMN doubted_at_ms BIGINT
";
