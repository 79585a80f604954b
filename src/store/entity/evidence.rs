//! Why an order changed. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "evidence")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub order_id: i64,
    pub version: i64,
    pub out_trade_no: String,
    pub source: String,
    pub source_id: String,
    pub fact: String,
    pub raw: Option<String>,
    pub verified_by: Option<String>,
    pub received_at_ms: i64,
    pub recorded_at_ms: i64,
    pub packed: Option<Vec<u8>>,
    pub took_ms: Option<i64>,
    pub state: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
