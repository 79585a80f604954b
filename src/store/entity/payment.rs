//! What WeChat holds for a merchant, one row per payment. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "payments")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub merchant: String,
    pub transaction_id: String,
    pub version: i64,
    pub class: String,
    pub reason: Option<String>,
    pub order_id: Option<i64>,
    pub order_no: Option<String>,
    pub out_trade_no: String,
    pub mch_id: String,
    pub appid: String,
    pub amount_fen: i64,
    pub currency: String,
    pub paid_at_ms: i64,
    pub recorded_at_ms: i64,
    pub updated_at_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
