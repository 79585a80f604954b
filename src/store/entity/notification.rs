//! Bytes WeChat posted, and what became of them. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notifications")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: String,
    pub merchant: String,
    pub kind: String,
    pub body: Vec<u8>,
    pub headers: String,
    pub remote_addr: String,
    pub received_at_ms: i64,
    pub processed_at_ms: i64,
    pub verdict: String,
    pub reason: Option<String>,
    pub out_trade_no: Option<String>,
    pub transaction_id: Option<String>,
    pub verified_by: Option<String>,
    pub order_id: Option<i64>,
    pub packed: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
