//! What WeChat had refunded of a payment when it did not take a refund of ours.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, ELSEWHERE).await
    }
}

const ELSEWHERE: &str = "
CREATE TABLE refunded_elsewhere (
  refund BIGINT NOT NULL PRIMARY KEY,
  refunded_fen BIGINT NOT NULL CHECK (refunded_fen > 0),
  listed_at_ms BIGINT NOT NULL
)
";
