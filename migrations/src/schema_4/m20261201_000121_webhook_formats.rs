//! What an endpoint is sent: events by Standard Webhooks, or messages for a robot.
//!
//! An older process does not read it. It cannot open the secret of a robot: it sends nothing, and tries again later.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, FORMATS).await
    }
}

const FORMATS: &str = "ALTER TABLE webhook_endpoints ADD COLUMN format TEXT NOT NULL DEFAULT 'events'";
