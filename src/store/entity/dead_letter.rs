//! A message that cannot be processed now. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dead_letters")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub event_id: String,
    pub consumer: String,
    pub subject: String,
    pub headers: String,
    pub payload: Vec<u8>,
    pub reason: String,
    pub first_error: String,
    pub last_error: String,
    pub attempts: i64,
    pub parked_at_ms: i64,
    pub state: String,
    /// When it was seen to be replayed or discarded.
    pub ended_at_ms: Option<i64>,
    /// The order it is about, as far as it was known.
    pub order_no: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
