//! Money that moved; append-only. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ledger")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub merchant: String,
    pub order_id: Option<i64>,
    pub order_version: i64,
    pub order_no: Option<String>,
    pub out_trade_no: String,
    pub entry: String,
    pub transaction_id: String,
    pub amount_fen: i64,
    pub currency: String,
    pub occurred_at_ms: i64,
    pub recorded_at_ms: i64,
    pub from_class: Option<String>,
    pub to_class: Option<String>,
    pub payment_version: Option<i64>,
    pub reason: Option<String>,
    pub done_by: Option<String>,
    pub evidence: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
