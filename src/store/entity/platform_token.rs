//! An access_token or a ticket, and how its refreshing goes. Columns as in `migrations/`.
#![allow(missing_docs)]

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "platform_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub app: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    pub sealed: Option<String>,
    pub value_hash: Option<String>,
    pub fetched_at_ms: Option<i64>,
    pub expires_at_ms: Option<i64>,
    pub refresh_at_ms: Option<i64>,
    pub report: Option<String>,
    pub reported_at_ms: Option<i64>,
    pub report_refreshes: i64,
    pub failures: i64,
    pub next_try_at_ms: i64,
    pub degraded_since_ms: Option<i64>,
    pub degraded_reason: Option<String>,
    pub degraded_code: Option<i64>,
    pub fingerprint: Option<String>,
    pub doubted_at_ms: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
