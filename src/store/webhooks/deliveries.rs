//! Deliveries: made from the feed, taken to be sent, recovered.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Value};

use super::lists::{DELIVERY, delivery};
use super::types::{WebhookDelivery, WebhookEndpoint};
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::{DbError, DbKind, placeholders};
use crate::store::entity::outbox;
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::order::rows::UNREADABLE;
use crate::store::packed::rows::{defect, read_event};
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::replay::types::ReplayMark;
use crate::store::writer::WriteTx;

/// Positions of the feed that one step goes through.
const STEP: i64 = 500;
/// Rows of one write.
const BATCH: u64 = 500;
/// The last error of a delivery that cannot be read: the outcome of one whose event cannot.
const EVENT_UNREADABLE: &str = "event_unreadable";

impl Store {
    /// Makes deliveries of what the endpoint wants behind its place, up to `end`, and moves the place; returns how many
    /// positions it moved. Only the lease's holder may. Where retention removed the next events, the place moves past
    /// them, and the audit says so.
    pub async fn fan_out(
        &self,
        lease: &Lease,
        endpoint: &WebhookEndpoint,
        end: i64,
        now: Timestamp,
    ) -> Result<Fenced<i64>, DbError> {
        let write = (lease.clone(), endpoint.clone(), end.min(endpoint.position.saturating_add(STEP)), now);
        let step = self.db.write("webhook.fan_out", write, |tx, write| Box::pin(fan_out(tx, write))).await?;
        let Fenced::Done(step) = step else { return Ok(Fenced::Lost) };
        if let Some(goes_on) = step.skipped_to {
            let (id, events) = (&endpoint.id, step.moved);
            tracing::error!(id, events, %goes_on, "events were removed before a webhook endpoint was given them");
        }
        Ok(Fenced::Done(step.moved))
    }

    /// Whether so many deliveries of an endpoint are pending.
    pub async fn has_pending_deliveries(&self, endpoint_id: &str, count: u64) -> Result<bool, DbError> {
        let sql = format!(
            "SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM webhook_deliveries
               WHERE endpoint_id = $1 AND state = 'pending' LIMIT {count}) AS pending"
        );
        let rows = self.db.reader().rows(&sql, [endpoint_id.into()]).await?;
        let n: i64 = rows.first().map_or(Ok(0), |row| row.get("n"))?;
        Ok(u64::try_from(n).unwrap_or_default() >= count)
    }

    /// The next deliveries of an endpoint that are due and not taken, oldest first. Where each is sent by itself, none
    /// of an order of which an earlier one is pending; one message has them in their order.
    pub async fn due_deliveries(
        &self,
        endpoint_id: &str,
        now: Timestamp,
        (limit, is_one_message): (usize, bool),
    ) -> Result<Vec<WebhookDelivery>, DbError> {
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let in_order = " AND NOT EXISTS (SELECT 1 FROM webhook_deliveries AS e
                               WHERE e.endpoint_id = d.endpoint_id AND e.order_no = d.order_no
                                 AND e.state = 'pending' AND e.position < d.position)";
        let in_order = if is_one_message { "" } else { in_order };
        let sql = format!(
            "SELECT {DELIVERY} FROM webhook_deliveries AS d
             WHERE d.endpoint_id = $1 AND d.state = 'pending' AND d.due_at_ms <= $2
               AND (d.claimed_until_ms IS NULL OR d.claimed_until_ms <= {clock}){in_order}
             ORDER BY d.position LIMIT {most}",
            clock = self.db.now_ms_sql(),
            most = limit.saturating_add(UNREADABLE)
        );
        let rows = self.db.reader().rows(&sql, [endpoint_id.into(), now.as_ms().into()]).await?;
        let mut due = Vec::with_capacity(rows.len());
        for row in &rows {
            match delivery(row) {
                Ok(delivery) => due.push(delivery),
                Err(error) => self.fail_unreadable(row.get("id")?, &error, now).await?,
            }
        }
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(due)
    }

    /// A delivery that cannot be read has failed, as one of an event that cannot be: no later attempt reads it, and
    /// those of its order behind it would wait for ever. Once its row is mended it can be recovered.
    async fn fail_unreadable(&self, id: i64, error: &DbError, now: Timestamp) -> Result<(), DbError> {
        let sql = format!(
            "UPDATE webhook_deliveries SET state = 'failed', ended_at_ms = $2, last_error = $3
             WHERE id = $1 AND state = 'pending' AND due_at_ms <= $2
               AND (claimed_until_ms IS NULL OR claimed_until_ms <= {clock})",
            clock = self.db.now_ms_sql()
        );
        let values: [Value; 3] = [id.into(), now.as_ms().into(), EVENT_UNREADABLE.into()];
        if self.db.execute("webhook.unreadable", sql, values).await? > 0 {
            tracing::error!(id, %error, "a delivery of a webhook cannot be read and has failed");
        }
        Ok(())
    }

    /// Takes deliveries to send them within a time; answers which. Only the lease's holder may.
    pub async fn claim_deliveries(
        &self,
        lease: &Lease,
        ids: &[i64],
        claim: &str,
        claim_ms: i64,
    ) -> Result<Fenced<Vec<i64>>, DbError> {
        let write = (lease.clone(), ids.to_vec(), claim.to_owned(), claim_ms);
        self.db
            .write("webhook.claim", write, |tx, (lease, ids, claim, claim_ms)| {
                Box::pin(async move {
                    if !holds(tx, lease).await? {
                        return Ok(Fenced::Lost);
                    }
                    let mut taken = Vec::new();
                    for id in ids {
                        if take(tx, *id, claim, *claim_ms).await? {
                            taken.push(*id);
                        }
                    }
                    Ok(Fenced::Done(taken))
                })
            })
            .await
    }

    /// Takes deliveries in any state, to send them beside the schedule; answers which. None of an item that has its
    /// result: another process sent it; none that is being sent.
    pub async fn claim_replayed(
        &self,
        items: &[(i64, ReplayMark)],
        claim: &str,
        claim_ms: i64,
    ) -> Result<Vec<i64>, DbError> {
        let write = (items.to_vec(), claim.to_owned(), claim_ms);
        self.db
            .write("webhook.claim_replayed", write, |tx, (items, claim, claim_ms)| {
                Box::pin(async move {
                    let mut taken = Vec::new();
                    for (id, mark) in items {
                        if take_replayed(tx, *id, mark, claim, *claim_ms).await? {
                            taken.push(*id);
                        }
                    }
                    Ok(taken)
                })
            })
            .await
    }

    /// Gives back what was taken and not sent.
    pub async fn release_deliveries(&self, claim: &str) -> Result<(), DbError> {
        let sql = "UPDATE webhook_deliveries SET claim = NULL, claimed_until_ms = NULL
                   WHERE claim = $1 AND state = 'pending'";
        self.db.execute("webhook.release", sql, [claim.into()]).await?;
        Ok(())
    }

    /// Gives some of them back, as due as they were.
    pub async fn release_some_deliveries(&self, ids: &[i64], claim: &str) -> Result<(), DbError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids_in = placeholders(1, ids.len(), 1);
        let sql = format!(
            "UPDATE webhook_deliveries SET claim = NULL, claimed_until_ms = NULL WHERE claim = $1 AND id IN {ids_in}"
        );
        let values = std::iter::once(Value::from(claim)).chain(ids.iter().map(|id| Value::from(*id)));
        self.db.execute("webhook.release", sql, values.collect::<Vec<_>>()).await?;
        Ok(())
    }

    /// The JSON of an event; none where it was removed.
    pub async fn event_json(&self, event_id: &str) -> Result<Option<String>, DbError> {
        let found = outbox::Entity::find().filter(outbox::Column::EventId.eq(event_id)).one(self.db.read()).await?;
        let read = found.map(|row| read_event(&row).map_err(|e| defect("outbox", row.id, e))).transpose()?;
        Ok(read.map(|(_, payload)| payload))
    }

    /// Puts the failed deliveries of an endpoint that were made at or after `since` back on the schedule, due at once;
    /// answers how many. The audit row comes first:
    /// the rows are many writes.
    pub async fn recover_deliveries(
        &self,
        endpoint_id: &str,
        since: Option<Timestamp>,
        audit: &AuditEntry,
    ) -> Result<u64, DbError> {
        self.record_audit(audit).await?;
        let since_ms = since.map_or(i64::MIN, Timestamp::as_ms);
        let mut recovered = 0;
        loop {
            let write = (endpoint_id.to_owned(), since_ms, audit.at.as_ms());
            let step = self.db.write("webhook.recover", write, |tx, write| Box::pin(recover(tx, write))).await?;
            recovered += step;
            if step < BATCH {
                return Ok(recovered);
            }
        }
    }
}

/// What a step through the feed did.
struct FannedOut {
    /// Positions.
    moved: i64,
    /// Where events were removed before: the time of the first one that is left.
    skipped_to: Option<Timestamp>,
}

async fn fan_out(
    tx: &WriteTx,
    (lease, endpoint, end, now): &(Lease, WebhookEndpoint, i64, Timestamp),
) -> Result<Fenced<FannedOut>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let next = next_event(tx, endpoint.position).await?;
    let skipped = next.map(|(position, at)| (position - 1, at)).filter(|(last, _)| *last > endpoint.position);
    let end = skipped.map_or(*end, |(last, _)| last);
    let sql = "UPDATE webhook_endpoints SET position = $3 WHERE id = $1 AND state = 'enabled' AND position = $2";
    let id = Value::from(endpoint.id.as_str());
    if tx.execute(sql, [id.clone(), endpoint.position.into(), end.into()]).await? == 0 {
        return Ok(Fenced::Done(FannedOut { moved: 0, skipped_to: None }));
    }
    let moved = end - endpoint.position;
    if let Some((_, goes_on)) = skipped {
        write_audit(tx, &skip(endpoint, goes_on, *now)).await?;
        return Ok(Fenced::Done(FannedOut { moved, skipped_to: Some(goes_on) }));
    }
    let mut values =
        vec![id, endpoint.merchant.as_str().into(), endpoint.position.into(), end.into(), now.as_ms().into()];
    let mut only = String::new();
    if !endpoint.event_types.is_empty() {
        let first = values.len() + 1;
        let numbers: Vec<String> = (first..first + endpoint.event_types.len()).map(|n| format!("${n}")).collect();
        only = format!(" AND event_type IN ({})", numbers.join(", "));
        values.extend(endpoint.event_types.iter().map(|name| name.as_str().into()));
    }
    let sql = format!(
        "INSERT INTO webhook_deliveries (endpoint_id, merchant, event_id, event_type, order_no, position, state,
                                         attempts, tries, due_at_ms, created_at_ms)
         SELECT $1, merchant, event_id, event_type, order_no, position, 'pending', 0, 0, $5, $5 FROM outbox
         WHERE position > $3 AND position <= $4 AND merchant = $2{only}
         ORDER BY position ON CONFLICT (endpoint_id, event_id) DO NOTHING"
    );
    tx.execute(&sql, values).await?;
    Ok(Fenced::Done(FannedOut { moved, skipped_to: None }))
}

/// The first event behind a position, and when it was emitted. It is not removed before the transaction ends, in which
/// those behind it are read.
async fn next_event(tx: &WriteTx, position: i64) -> Result<Option<(i64, Timestamp)>, DbError> {
    let lock = match tx.kind() {
        DbKind::Sqlite => "",
        DbKind::Postgres => " FOR KEY SHARE",
    };
    let sql = format!("SELECT position, created_at_ms FROM outbox WHERE position > $1 ORDER BY position LIMIT 1{lock}");
    let Some(row) = tx.one(&sql, [position.into()]).await? else { return Ok(None) };
    Ok(Some((row.get("position")?, Timestamp::from_ms(row.get("created_at_ms")?))))
}

fn skip(endpoint: &WebhookEndpoint, goes_on: Timestamp, at: Timestamp) -> AuditEntry {
    AuditEntry {
        at,
        actor: "service".to_owned(),
        actor_id: None,
        remote_addr: String::new(),
        action: "webhook.skip",
        merchant: Some(endpoint.merchant.clone()),
        order_no: None,
        transaction_id: None,
        subject: Some(format!("webhook:{}", endpoint.id)),
        reason: format!("events before {goes_on} were removed by retention and are not delivered"),
        result: "done".to_owned(),
    }
}

async fn take(tx: &WriteTx, id: i64, claim: &str, claim_ms: i64) -> Result<bool, DbError> {
    let clock = tx.now_ms_sql();
    let sql = format!(
        "UPDATE webhook_deliveries SET claim = $2, claimed_until_ms = {clock} + $3
         WHERE id = $1 AND (claimed_until_ms IS NULL OR claimed_until_ms <= {clock}) AND state = 'pending'"
    );
    Ok(tx.execute(&sql, [id.into(), claim.into(), claim_ms.into()]).await? > 0)
}

async fn take_replayed(tx: &WriteTx, id: i64, mark: &ReplayMark, claim: &str, claim_ms: i64) -> Result<bool, DbError> {
    let clock = tx.now_ms_sql();
    let sql = format!(
        "UPDATE webhook_deliveries SET claim = $2, claimed_until_ms = {clock} + $3
         WHERE id = $1 AND (claimed_until_ms IS NULL OR claimed_until_ms <= {clock})
           AND EXISTS (SELECT 1 FROM replay_items AS i WHERE i.replay_id = $4 AND i.n = $5 AND i.result IS NULL)"
    );
    let values: [Value; 5] = [id.into(), claim.into(), claim_ms.into(), mark.replay_id.as_str().into(), mark.n.into()];
    Ok(tx.execute(&sql, values).await? > 0)
}

async fn recover(tx: &WriteTx, (endpoint_id, since_ms, now_ms): &(String, i64, i64)) -> Result<u64, DbError> {
    let sql = format!(
        "UPDATE webhook_deliveries SET state = 'pending', ended_at_ms = NULL, due_at_ms = $3, tries = 0,
           first_attempt_at_ms = NULL
         WHERE id IN (SELECT id FROM webhook_deliveries
                      WHERE endpoint_id = $1 AND state = 'failed' AND created_at_ms >= $2 ORDER BY id LIMIT {BATCH})"
    );
    tx.execute(&sql, [endpoint_id.as_str().into(), (*since_ms).into(), (*now_ms).into()]).await
}
