//! The rows of notifications, also outside any order's change, and a bounded sample of rejected notification bodies
//! for diagnosis.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{ConnectionTrait, EntityTrait, Set};

use super::Store;
use super::db::DbError;
use super::entity::{notification, quarantine};
use super::evidence::{NotificationRecord, Verdict, outbox_row};
use super::order::rows::broken;
use super::outbox::write_events;
use super::packed;
use super::replay::results::write_result;
use super::replay::types::{ItemResult, ReplayResult};
use super::writer::WriteTx;
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

/// Writes notification rows; one that is there already (its message came twice) stays as it was, except that a
/// waiting one may come to its end, and one that was refused may be judged anew when it is replayed. Returns how many
/// were written.
pub(super) async fn write_notifications<'a>(
    tx: &WriteTx,
    records: impl Iterator<Item = &'a NotificationRecord>,
    at: Timestamp,
) -> Result<u64, DbError> {
    write_records(tx, records, at, true).await
}

/// The same where nothing is asked: how many is not known before the next statement.
pub(super) async fn write_notifications_later<'a>(
    tx: &WriteTx,
    records: impl Iterator<Item = &'a NotificationRecord>,
    at: Timestamp,
) -> Result<(), DbError> {
    write_records(tx, records, at, false).await.map(drop)
}

async fn write_records<'a>(
    tx: &WriteTx,
    records: impl Iterator<Item = &'a NotificationRecord>,
    at: Timestamp,
    is_counted: bool,
) -> Result<u64, DbError> {
    use notification::Column;
    use notification::Column::{OrderId, OutTradeNo, ProcessedAtMs, Reason, TransactionId, VerifiedBy};
    // In the order of the ids: two processes that record the same notifications must not lock them crosswise.
    let (mut firsts, mut again, mut replayed) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for n in records {
        // One statement may name a row once only, and a redelivery may sit beside its original in a batch.
        firsts.entry(n.id).or_insert(n);
        if n.replay.is_some() && !matches!(n.verdict, Verdict::Waiting) {
            again.insert(n.id);
        }
        replayed.extend(n.replay.as_ref().zip(replay_result(&n.verdict)).map(|(mark, result)| (n.id, mark, result)));
    }
    replayed.sort_by_key(|(id, mark, _)| (*id, mark.n));
    let (settles, keeps): (Vec<_>, Vec<_>) = firsts.into_values().partition(|n| again.contains(&n.id));
    let keep = OnConflict::column(Column::EventId)
        .update_columns([Column::Verdict, Reason, ProcessedAtMs, OrderId])
        .action_and_where(Expr::col((notification::Entity, Column::Verdict)).eq("waiting"))
        .to_owned();
    let settle = OnConflict::column(Column::EventId)
        .update_columns([Column::Verdict, Reason, ProcessedAtMs, OrderId, OutTradeNo, TransactionId, VerifiedBy])
        .action_and_where(Expr::col((notification::Entity, Column::Verdict)).is_in(["waiting", "rejected", "parked"]))
        .to_owned();
    let kept = write_rows(tx, keeps, keep, at, is_counted).await?;
    let written = kept + write_rows(tx, settles, settle, at, is_counted).await?;
    for (_, mark, result) in &replayed {
        write_result(tx, mark, result, at).await?;
    }
    Ok(written)
}

/// Inserts rows, or updates those that are there as `known` says; how many of both, where it is counted. On SQLite an
/// upsert that changes a reference to another table copies each page that it writes, also where it inserts: nearly all
/// rows are new, and only the others get it.
async fn write_rows(
    tx: &WriteTx,
    mut records: Vec<&NotificationRecord>,
    known: OnConflict,
    at: Timestamp,
    is_counted: bool,
) -> Result<u64, DbError> {
    let all = records.len();
    let pass_over = OnConflict::column(notification::Column::EventId).do_nothing().to_owned();
    if let Some(new) = tx.insert_each(|| rows_of(tx, &records, at), pass_over)? {
        let mut new = new.into_iter();
        records.retain(|_| new.next() != Some(true));
    }
    let inserted = u64::try_from(all - records.len()).unwrap_or_default();
    if !is_counted {
        tx.insert_later(rows_of(tx, &records, at), Some(known))?;
        return Ok(inserted);
    }
    Ok(inserted + tx.insert_all(rows_of(tx, &records, at), Some(known)).await?)
}

fn rows_of(tx: &WriteTx, records: &[&NotificationRecord], at: Timestamp) -> Vec<notification::ActiveModel> {
    let mut rows: Vec<_> = records.iter().map(|n| notification_row(n, at)).collect();
    rows.iter_mut().for_each(|row| packed::rows::write_notification(tx, row));
    rows
}

fn notification_row(n: &NotificationRecord, at: Timestamp) -> notification::ActiveModel {
    notification::ActiveModel {
        event_id: Set(n.id.to_string()),
        merchant: Set(n.merchant.to_string()),
        kind: Set(n.kind.as_str().into()),
        body: Set(n.posted.body.clone()),
        headers: Set(n.posted.headers.clone()),
        remote_addr: Set(n.remote_addr.clone()),
        received_at_ms: Set(n.received_at.as_ms()),
        processed_at_ms: Set(at.as_ms()),
        verdict: Set(n.verdict.as_str().into()),
        reason: Set(n.verdict.reason()),
        out_trade_no: Set(n.out_trade_no.as_ref().map(ToString::to_string)),
        transaction_id: Set(n.transaction_id.as_ref().map(ToString::to_string)),
        verified_by: Set(n.verified_by.clone()),
        order_id: Set(n.order_id),
        packed: Set(None),
    }
}

/// The result of a replayed notification that its record says. A failure is written by the one who works on the replay,
/// after the dead letter that it makes.
fn replay_result(verdict: &Verdict) -> Option<ItemResult> {
    let (result, reason) = match verdict {
        Verdict::Settled => (ReplayResult::Settled, None),
        Verdict::Duplicate => (ReplayResult::NoOp, Some("already_applied")),
        Verdict::NoPayment => (ReplayResult::NoOp, Some("no_payment")),
        Verdict::Waiting | Verdict::Rejected(_) | Verdict::Parked(_) => return None,
    };
    Some(ItemResult { result, reason: reason.map(str::to_owned), error: None })
}
