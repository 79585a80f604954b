//! Money that went back; append-only. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refund_ledger")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub merchant: String,
    pub refund: i64,
    pub refund_version: i64,
    pub order_id: Option<i64>,
    pub order_no: Option<String>,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub refund_no: String,
    pub refund_id: String,
    pub amount_fen: i64,
    pub currency: String,
    pub occurred_at_ms: i64,
    pub recorded_at_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
