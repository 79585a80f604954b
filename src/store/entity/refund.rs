//! Money on its way back. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refunds")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub merchant: String,
    pub refund_no: String,
    pub order_id: Option<i64>,
    pub order_no: Option<String>,
    pub out_trade_no: String,
    pub transaction_id: String,
    pub version: i64,
    pub state: String,
    pub origin: String,
    pub amount_fen: i64,
    pub total_fen: i64,
    pub reason: Option<String>,
    pub requested_by: String,
    pub content_hash: String,
    pub params: String,
    pub sign_type: String,
    pub refund_id: Option<String>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub delayed: bool,
    pub calls: i64,
    pub unanswered_at_ms: Option<i64>,
    pub queries_done: i64,
    pub next_at_ms: Option<i64>,
    pub succeeded_at_ms: Option<i64>,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    pub call_open_until_ms: Option<i64>,
    pub answered_at_ms: Option<i64>,
    pub contradiction: Option<String>,
    pub currency: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
