//! When an endpoint that is sent messages about several events may be sent the next one, and until when that one is a
//! replay's: all processes keep to it.
//!
//! An older process keeps the pause between its own messages alone.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, MESSAGES).await
    }
}

const MESSAGES: &str = "
    ALTER TABLE webhook_endpoints ADD COLUMN next_message_at_ms BIGINT
    --;
    ALTER TABLE webhook_endpoints ADD COLUMN replay_waits_until_ms BIGINT
    --;
    ALTER TABLE webhook_endpoints ADD COLUMN replay_first_until_ms BIGINT";
