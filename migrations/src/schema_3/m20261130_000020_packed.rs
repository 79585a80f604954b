//! A column for the texts of a row in packed form.
//!
//! An older process leaves it empty and reads the texts; nothing is packed while one may run (`store.compact`).

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, PACKED).await
    }
}

const PACKED: &str = "
ALTER TABLE outbox ADD COLUMN packed {bytes}
--;
ALTER TABLE evidence ADD COLUMN packed {bytes}
--;
ALTER TABLE refund_evidence ADD COLUMN packed {bytes}
--;
ALTER TABLE notifications ADD COLUMN packed {bytes}
--;
ALTER TABLE orders ADD COLUMN packed {bytes}
";
