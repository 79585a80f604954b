//! Which payment a refund's number means, where the request named none.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, TARGETS).await
    }
}

const TARGETS: &str = "
CREATE TABLE refund_targets (
  merchant TEXT NOT NULL,
  refund_no TEXT NOT NULL,
  order_id BIGINT NOT NULL REFERENCES orders (id),
  transaction_id TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (merchant, refund_no, order_id)
)
";
