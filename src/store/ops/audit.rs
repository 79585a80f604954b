//! The audit as operators read it.

use sea_orm::{ConnectionTrait, QueryResult};

use super::filter::{Conditions, Scanned, page, page_statement};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;

/// A row of the audit.
#[derive(Debug, Clone)]
pub struct AuditRow {
    pub id: i64,
    pub at: Timestamp,
    /// The name of the API key or user; empty where none is known.
    pub actor: String,
    /// Rows of older versions have none.
    pub actor_id: Option<String>,
    pub remote_addr: String,
    pub action: String,
    pub merchant: Option<String>,
    pub order_no: Option<String>,
    pub transaction_id: Option<String>,
    pub subject: Option<String>,
    pub reason: Option<String>,
    pub result: String,
}

/// Which rows are listed; what is not set does not restrict.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    pub merchants: Option<Vec<MerchantKey>>,
    /// By the name or the id of the key.
    pub actor: Option<String>,
    pub action: Option<String>,
    pub order_no: Option<String>,
    pub transaction_id: Option<String>,
    pub result: Option<String>,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Older rows than this one.
    pub before_id: Option<i64>,
}

const COLUMNS: &str = "id, at_ms, actor, actor_id, remote_addr, action, merchant, order_no, transaction_id, subject,
                       reason, result";

impl Store {
    /// Up to `limit` rows of the audit, newest first.
    pub async fn audit(&self, filter: &AuditFilter, limit: u64) -> Result<Scanned<AuditRow, i64>, DbError> {
        let (sql, values) = audit_statement(filter, limit);
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        page(&rows, audit_row, |row| row.id)
    }
}

/// What an index has in order.
fn window(filter: &AuditFilter) -> Conditions {
    let mut only = Conditions::default();
    only.add_option("action = {}", filter.action.as_deref());
    only.add_option("order_no = {}", filter.order_no.as_deref());
    only.add_option("id < {}", filter.before_id);
    only
}

pub(in crate::store) fn audit_statement(filter: &AuditFilter, limit: u64) -> (String, Vec<sea_orm::Value>) {
    let mut only = window(filter);
    let window = only.take().text();
    only.merchants("merchant", filter.merchants.as_deref());
    if let Some(actor) = &filter.actor {
        let number = only.value(actor.as_str());
        only.plain(&format!("(actor = {number} OR actor_id = {number})"));
    }
    only.add_option("transaction_id = {}", filter.transaction_id.as_deref());
    only.add_option("result = {}", filter.result.as_deref());
    only.add_option("at_ms >= {}", filter.from.map(Timestamp::as_ms));
    only.add_option("at_ms < {}", filter.to.map(Timestamp::as_ms));
    (page_statement("audit", COLUMNS, (&window, &only.text()), limit), only.values())
}

fn audit_row(row: &QueryResult) -> Result<AuditRow, DbError> {
    Ok(AuditRow {
        id: row.try_get("", "id")?,
        at: Timestamp::from_ms(row.try_get("", "at_ms")?),
        actor: row.try_get("", "actor")?,
        actor_id: row.try_get("", "actor_id")?,
        remote_addr: row.try_get("", "remote_addr")?,
        action: row.try_get("", "action")?,
        merchant: Some(row.try_get::<String>("", "merchant")?).filter(|merchant| !merchant.is_empty()),
        order_no: row.try_get("", "order_no")?,
        transaction_id: row.try_get("", "transaction_id")?,
        subject: row.try_get("", "subject")?,
        reason: row.try_get("", "reason")?,
        result: row.try_get("", "result")?,
    })
}
