//! Payments without an order: their notifications wait for the order and are reported when it never appears.
//!
//! What must stay true: one payment is reported once, however many copies of its notification there are, under any
//! concurrency. The bytes that WeChat signed stay in the notification's row.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use super::Store;
use super::db::DbError;
use super::evidence::{NotificationRecord, outbox_row};
use super::notifications::write_notifications;
use super::order::rows::{UNREADABLE, readable, unreadable};
use super::outbox::write_events;
use super::payment::commit::enter_unmatched;
use super::writer::WriteTx;
use crate::clock::Timestamp;
use crate::event::domain::{DomainEvent, EncodedEvent};
use crate::event::fact::Payment;
use crate::ids::{EventId, MerchantKey};

/// So far ahead, a time was written by a clock that was wrong.
const IMPOSSIBLY_AHEAD: Duration = Duration::from_secs(600);

/// A payment's notification that waits for its order.
#[derive(Clone)]
pub struct WaitingNotification {
    /// The id it travelled under.
    pub id: EventId,
    pub merchant: MerchantKey,
    pub body: Vec<u8>,
    pub headers: Vec<(String, String)>,
    pub remote_addr: String,
    /// When it came, by the clock of the process that took it.
    pub received_at: Timestamp,
    /// When it was last retried.
    pub checked_at: Timestamp,
}

/// A raw body has no place in a log.
impl std::fmt::Debug for WaitingNotification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitingNotification").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Store {
    /// Records the end of a notification that waited in vain, and enters and reports its payment in the same
    /// transaction, unless another copy did. A notification already in a terminal state stays as it is.
    pub async fn record_orphan(
        &self,
        record: &NotificationRecord,
        payment: &Payment,
        news: DomainEvent,
        at: Timestamp,
    ) -> Result<(), DbError> {
        let write = (record.clone(), payment.clone(), news.encode(at), at);
        self.db
            .write("notification.orphan", write, |tx, (record, payment, news, at)| {
                Box::pin(record_orphan(tx, record, payment, news, *at))
            })
            .await?;
        self.changed();
        Ok(())
    }

    /// Up to `limit` notifications of payments that a process of the version before reported as those of no order: they
    /// have no row of their own yet.
    pub async fn reported_without_payment(&self, limit: u64) -> Result<Vec<WaitingNotification>, DbError> {
        let most = i64::try_from(limit.saturating_add(UNREADABLE)).unwrap_or(i64::MAX);
        let rows = self.db.read().query_all_raw(self.db.statement(NOT_ENTERED, [most.into()])).await?;
        Ok(readable("notification", &rows, limit, event_id_of, waiting))
    }

    /// Enters a payment of no order, unless it is known.
    pub async fn enter_unmatched(
        &self,
        merchant: &MerchantKey,
        payment: &Payment,
        notification_id: EventId,
        at: Timestamp,
    ) -> Result<(), DbError> {
        let write = (merchant.clone(), payment.clone(), format!("notification:{notification_id}"), at);
        self.db
            .write("payment.unmatched", write, |tx, (merchant, payment, evidence, at)| {
                Box::pin(async move {
                    enter_unmatched(tx, merchant, payment, evidence.clone(), *at).await?;
                    let sql = "UPDATE orphaned_payments SET entered = TRUE
                               WHERE merchant = $1 AND transaction_id = $2 AND NOT entered";
                    let key = [merchant.as_str().into(), payment.transaction_id.as_str().into()];
                    tx.execute(sql, key).await.map(drop)
                })
            })
            .await
    }

    /// Up to `limit` waiting notifications of payments not retried since `before`, the least recently retried first;
    /// includes those whose last retry lies in the future because of clock skew.
    pub async fn forgotten_notifications(
        &self,
        before: Timestamp,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<WaitingNotification>, DbError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = [before.as_ms().into(), now.after(IMPOSSIBLY_AHEAD).as_ms().into(), limit.into()];
        let rows = self.db.read().query_all_raw(self.db.statement(forgotten_sql(), values)).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in rows {
            match waiting(&row) {
                Ok(waiting) => found.push(waiting),
                Err(e) => self.pass_over(&event_id_of(&row).unwrap_or_default(), &e, now).await?,
            }
        }
        Ok(found)
    }

    /// Puts off a notification that cannot be read: it must not take the place of others. Its row stays and can be
    /// listed.
    async fn pass_over(&self, event_id: &str, error: &DbError, now: Timestamp) -> Result<(), DbError> {
        tracing::error!(event.id = event_id, %error, "a notification that waits cannot be read, and is passed over");
        let sql = "UPDATE notifications SET processed_at_ms = $2 WHERE event_id = $1 AND verdict = 'waiting'";
        self.db.execute("notification.pass_over", sql, [event_id.into(), now.as_ms().into()]).await?;
        Ok(())
    }

    /// Notes that a waiting notification was redelivered to the workers, unless one of them has processed it since.
    pub async fn note_redelivered(&self, waiting: &WaitingNotification, at: Timestamp) -> Result<(), DbError> {
        let sql = "UPDATE notifications SET processed_at_ms = $3
                   WHERE event_id = $1 AND processed_at_ms = $2 AND verdict = 'waiting'";
        let values = [waiting.id.to_string().into(), waiting.checked_at.as_ms().into(), at.as_ms().into()];
        self.db.execute("notification.checked_at", sql, values).await?;
        Ok(())
    }
}

/// Those that have a row of their own are marked: that there is none, no index tells.
pub(super) const NOT_ENTERED: &str =
    "SELECT n.event_id, n.merchant, n.body, n.headers, n.remote_addr, n.received_at_ms, n.processed_at_ms
     FROM orphaned_payments AS o JOIN notifications AS n ON n.event_id = o.notification_id
     WHERE NOT o.entered ORDER BY o.told_at_ms LIMIT $1";

/// Two reads of one index: a condition with OR would sort all that wait.
pub(super) fn forgotten_sql() -> String {
    let columns = "event_id, merchant, body, headers, remote_addr, received_at_ms, processed_at_ms";
    let one = |name: &str, when: &str| {
        format!(
            "SELECT {columns} FROM (
               SELECT {columns} FROM notifications WHERE verdict = 'waiting' AND kind = 'pay' AND processed_at_ms {when}
               ORDER BY processed_at_ms LIMIT $3) AS {name}"
        )
    };
    format!("{} UNION ALL {} LIMIT $3", one("forgotten", "<= $1"), one("ahead", "> $2"))
}

async fn record_orphan(
    tx: &WriteTx,
    record: &NotificationRecord,
    payment: &Payment,
    news: &EncodedEvent,
    at: Timestamp,
) -> Result<(), DbError> {
    // Payments before notifications, as everywhere: no deadlock.
    enter_unmatched(tx, &record.merchant, payment, format!("notification:{}", record.id), at).await?;
    if write_notifications(tx, std::iter::once(record), at).await? == 0 {
        return Ok(());
    }
    // The one that writes the row reports it; a concurrent one waits here until that is certain.
    let sql = "INSERT INTO orphaned_payments (merchant, transaction_id, notification_id, told_at_ms, entered)
               VALUES ($1, $2, $3, $4, TRUE) ON CONFLICT DO NOTHING";
    let [merchant, transaction_id] = [record.merchant.as_str(), payment.transaction_id.as_str()].map(Into::into);
    let values = [merchant, transaction_id, record.id.to_string().into(), at.as_ms().into()];
    if tx.execute(sql, values).await? > 0 {
        write_events(tx, vec![outbox_row(news)]).await?;
    }
    Ok(())
}

fn event_id_of(row: &sea_orm::QueryResult) -> Result<String, DbError> {
    Ok(row.try_get("", "event_id")?)
}

fn waiting(row: &sea_orm::QueryResult) -> Result<WaitingNotification, DbError> {
    let text = |column: &str| row.try_get::<String>("", column);
    let time = |column: &str| row.try_get("", column).map(Timestamp::from_ms);
    let defect = |e: &dyn std::fmt::Display| DbError::Defect(e.to_string());
    Ok(WaitingNotification {
        id: EventId::parse(&text("event_id")?).map_err(|e| defect(&e))?,
        merchant: MerchantKey::parse(text("merchant")?).map_err(|e| defect(&e))?,
        body: row.try_get("", "body")?,
        headers: serde_json::from_str(&text("headers")?).map_err(|e| unreadable("headers", &e))?,
        remote_addr: text("remote_addr")?,
        received_at: time("received_at_ms")?,
        checked_at: time("processed_at_ms")?,
    })
}
