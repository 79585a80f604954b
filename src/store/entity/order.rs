//! An order. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "orders")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub merchant: String,
    pub order_no: String,
    pub app: String,
    pub state: String,
    pub version: i64,
    pub amount_fen: i64,
    pub currency: String,
    pub refunded_fen: i64,
    pub content: String,
    pub content_hash: String,
    pub requested_by: String,
    pub order_token: String,
    pub outcome_unknown: bool,
    pub paid_late: bool,
    pub paid_twice: bool,
    pub amount_mismatch: bool,
    pub failure_code: Option<String>,
    pub failure_message: Option<String>,
    pub transaction_id: Option<String>,
    pub paid_at_ms: Option<i64>,
    pub created_at_ms: i64,
    pub expires_at_ms: i64,
    pub updated_at_ms: i64,
    pub queries_done: i64,
    pub next_query_at_ms: Option<i64>,
    pub intent: Option<String>,
    pub intent_trade_type: Option<String>,
    pub intent_expires_at_ms: Option<i64>,
    pub intent_params: Option<String>,
    pub paid_told: bool,
    pub next_look_at_ms: Option<i64>,
    pub answered_at_ms: Option<i64>,
    pub paid_before_order: bool,
    pub packed: Option<Vec<u8>>,
    pub placing_until_ms: Option<i64>,
    pub placing_version: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
