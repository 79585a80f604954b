//! A column for the texts of a row in packed form.
//!
//! An older process leaves it empty and reads the texts; nothing is packed while one may run (`store.compact`).

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, PACKED).await?;
        match manager.get_database_backend() {
            DbBackend::Postgres => dialect::run(manager, UNREAD_POSTGRES).await,
            // An index of a constraint goes with the table alone, and events are many.
            _ => Ok(()),
        }
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

// No version of the program finds an event by its id; the id is made once, with the event.
const UNREAD_POSTGRES: &str = "
ALTER TABLE outbox DROP CONSTRAINT outbox_event_id_key
";
