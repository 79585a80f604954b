//! Until when a payer's sessions were ended. An older process does not read it: it accepts them until it is replaced.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, ENDED_SESSIONS).await
    }
}

const ENDED_SESSIONS: &str = "
CREATE TABLE ended_sessions (
  app TEXT NOT NULL,
  openid TEXT NOT NULL,
  ended_at_ms BIGINT NOT NULL,
  PRIMARY KEY (app, openid)
)
";
