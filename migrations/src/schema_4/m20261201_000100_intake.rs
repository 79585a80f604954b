//! How far the intake logs are settled, and whose they are.
//!
//! An older process knows no log and leaves the tables alone: it neither writes such logs nor reads them.

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

/// `position` counts bytes of records from the log's beginning. `ended_at_ms` is set when all is settled and the files
/// are about to go. `intake_database` has one row at most: the id that the headers of this database's logs name.
const INTAKE: &str = "
CREATE TABLE intake_logs (
  log TEXT NOT NULL PRIMARY KEY,
  folder TEXT NOT NULL,
  position BIGINT NOT NULL CHECK (position >= 0),
  opened_at_ms BIGINT NOT NULL,
  ended_at_ms BIGINT
);

CREATE TABLE intake_database (
  one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
  id TEXT NOT NULL
)
";
