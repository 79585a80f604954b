//! Days that a person explained, because WeChat no longer has the bill to compare them with.
//!
//! A note counts with the result that it was made for, `explained_run` (0 where there is none): another version that
//! writes another result need not know of it. An older process reports such a day as it was.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, NOTES).await
    }
}

const NOTES: &str = "
ALTER TABLE reconciliations ADD COLUMN explained_run BIGINT
--;
ALTER TABLE reconciliations ADD COLUMN explained_note TEXT
--;
ALTER TABLE reconciliations ADD COLUMN explained_by TEXT
--;
ALTER TABLE reconciliations ADD COLUMN explained_at_ms BIGINT
";
