//! Until when the calls of a merchant and API are given out to processes, and how long WeChat wants to be left alone.
//!
//! An older process calls without permits.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, CALL_RATES).await
    }
}

const CALL_RATES: &str = "
CREATE TABLE call_rates (
  merchant TEXT NOT NULL,
  api TEXT NOT NULL,
  reserved_until_us BIGINT NOT NULL,
  backoff_ms BIGINT NOT NULL,
  resume_at_ms BIGINT NOT NULL,
  PRIMARY KEY (merchant, api)
)
";
