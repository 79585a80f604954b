//! One try at WeChat for an order. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attempts")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub order_id: i64,
    pub merchant: String,
    pub out_trade_no: String,
    pub n: i64,
    pub trade_type: String,
    pub mch_id: String,
    pub appid: String,
    pub sign_type: String,
    pub params: String,
    pub state: String,
    pub prepay_id: Option<String>,
    pub code_url: Option<String>,
    pub mweb_url: Option<String>,
    pub prepay_issued_at_ms: Option<i64>,
    pub transaction_id: Option<String>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub created_at_ms: i64,
    pub said: Option<String>,
    pub setup_refusals: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
