//! An event to be published, written in the transaction that made it true. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub event_id: String,
    pub merchant: String,
    pub order_no: Option<String>,
    pub subject: String,
    pub event_type: String,
    pub payload: String,
    pub created_at_ms: i64,
    pub position: Option<i64>,
    pub relayed_at_ms: Option<i64>,
    pub packed: Option<Vec<u8>>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
