//! The feed's epoch and its last position, which outlives the events.
//!
//! An older process gives positions by the events alone and leaves the row behind: the greater of both is the end.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, FEED).await
    }
}

const FEED: &str = "
CREATE TABLE feed (
  name TEXT NOT NULL PRIMARY KEY,
  epoch TEXT NOT NULL,
  last_position BIGINT NOT NULL,
  last_event_id TEXT
)
--;
INSERT INTO feed (name, epoch, last_position) SELECT 'events', '1', COALESCE(MAX(position), 0) FROM outbox
--;
UPDATE feed SET last_event_id = (SELECT event_id FROM outbox WHERE position = feed.last_position)
";
