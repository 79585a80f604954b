//! Everything an order's rows say about how it came to be what it is.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::{evidence, ledger, notification};

/// What proves an order's state, oldest first.
#[derive(Debug, Clone)]
pub struct History {
    /// Why it changed, one row per version.
    pub evidence: Vec<evidence::Model>,
    /// What money moved.
    pub ledger: Vec<ledger::Model>,
    /// What WeChat posted about it.
    pub notifications: Vec<notification::Model>,
}

impl Store {
    /// The history of the order with this row number.
    pub async fn history(&self, order_id: i64) -> Result<History, DbError> {
        let evidence = evidence::Entity::find()
            .filter(evidence::Column::OrderId.eq(order_id))
            .order_by_asc(evidence::Column::Version)
            .all(self.db.read())
            .await?;
        let ledger = ledger::Entity::find()
            .filter(ledger::Column::OrderId.eq(order_id))
            .order_by_asc(ledger::Column::Id)
            .all(self.db.read())
            .await?;
        let notifications = notification::Entity::find()
            .filter(notification::Column::OrderId.eq(order_id))
            .order_by_asc(notification::Column::ReceivedAtMs)
            .all(self.db.read())
            .await?;
        Ok(History { evidence, ledger, notifications })
    }
}
