//! Indexes over the due times of orders, of which `orders_due` alone is read since it has both of them: each new order
//! and each change of a due time wrote them besides.

use sea_orm_migration::prelude::*;

use crate::dialect;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        dialect::run(manager, UNREAD).await
    }
}

const UNREAD: &str = "
DROP INDEX IF EXISTS orders_next_query
--;
DROP INDEX IF EXISTS orders_merchant_next_query
--;
DROP INDEX IF EXISTS orders_merchant_next_look
";
