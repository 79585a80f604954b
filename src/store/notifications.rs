//! Notifications outside any order's change, and a bounded sample of rejected notification bodies for diagnosis.

use sea_orm::{ConnectionTrait, EntityTrait, Set};

use super::Store;
use super::db::DbError;
use super::entity::quarantine;
use super::evidence::{NotificationRecord, outbox_row, write_notifications};
use super::order::rows::broken;
use super::outbox::write_events;
use crate::clock::Timestamp;
use crate::event::domain::DomainEvent;
use crate::ids::{EventId, MerchantKey, OrderNo};

/// How many refused bodies are kept per merchant.
const QUARANTINE_ROWS: i64 = 200;
/// How much of a refused body is kept.
const QUARANTINE_BYTES: usize = 4096;

impl Store {
    /// Records a notification and writes its event to the outbox, in one transaction. A notification already in a
    /// terminal state stays as it is, and no event is emitted again.
    pub async fn record_notification(
        &self,
        record: &NotificationRecord,
        news: Option<DomainEvent>,
        at: Timestamp,
    ) -> Result<(), DbError> {
        let write = (record.clone(), news.map(|n| n.encode(at)), at);
        self.db
            .write("notification.record", write, |tx, (record, news, at)| {
                Box::pin(async move {
                    let written = write_notifications(tx, std::iter::once(record), *at).await?;
                    write_events(tx, news.iter().filter(|_| written > 0).map(outbox_row).collect()).await
                })
            })
            .await?;
        self.changed();
        Ok(())
    }

    /// The order that a notification is about.
    pub async fn order_of_notification(&self, id: EventId) -> Result<Option<OrderNo>, DbError> {
        let sql = "SELECT o.order_no FROM notifications AS n JOIN orders AS o ON o.id = n.order_id
                   WHERE n.event_id = $1
                   UNION ALL
                   SELECT o.order_no FROM notifications AS n
                   JOIN attempts AS a ON a.merchant = n.merchant AND a.out_trade_no = n.out_trade_no
                   JOIN orders AS o ON o.id = a.order_id
                   WHERE n.event_id = $1 AND n.order_id IS NULL";
        let row = self.db.read().query_one_raw(self.db.statement(sql, [id.to_string().into()])).await?;
        let Some(row) = row else { return Ok(None) };
        OrderNo::parse(row.try_get::<String>("", "order_no")?).map(Some).map_err(broken("order_no"))
    }

    /// Keeps the beginning of a body that was refused; the oldest of the merchant's make room.
    pub async fn quarantine(
        &self,
        merchant: &MerchantKey,
        reason: &str,
        remote_addr: &str,
        body: &[u8],
        at: Timestamp,
    ) -> Result<(), DbError> {
        let row = quarantine::ActiveModel {
            id: sea_orm::NotSet,
            merchant: Set(merchant.to_string()),
            reason: Set(reason.to_owned()),
            remote_addr: Set(remote_addr.to_owned()),
            received_at_ms: Set(at.as_ms()),
            body: Set(body[..body.len().min(QUARANTINE_BYTES)].to_vec()),
        };
        let write = (row, merchant.clone());
        self.db
            .write("notification.quarantine", write, |tx, (row, merchant)| {
                Box::pin(async move {
                    tx.run(&quarantine::Entity::insert(row.clone())).await?;
                    let sql = "DELETE FROM quarantine WHERE merchant = $1 AND id <= (
                                 SELECT id FROM quarantine WHERE merchant = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
                    tx.execute(sql, [merchant.as_str().into(), QUARANTINE_ROWS.into()]).await?;
                    Ok(())
                })
            })
            .await
    }
}
