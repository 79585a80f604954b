//! Asks for a second person, and writes what it decided.

use sea_orm::Value;

use super::read::{COLUMNS, approval};
use super::types::{Approval, ApprovalState, Decided, NewApproval};
use crate::event::domain::{ApprovalWaiting, DomainData, DomainEvent, EncodedEvent};
use crate::money::Fen;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::evidence::outbox_row;
use crate::store::outbox::write_events;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::WriteTx;

/// Requests of one client that wait at once, about: two at the same moment may both be the last one.
const MAX_WAITING: i64 = 1000;

impl Store {
    /// The request that waits for a second person: this one, or the one of the same payment or refund that was there
    /// before. None where as many of the client's as may be wait.
    pub async fn ask_approval(&self, new: &NewApproval) -> Result<Option<Approval>, DbError> {
        self.db.write("approval.ask", new.clone(), |tx, new| Box::pin(ask(tx, new))).await
    }

    /// Refuses a request, or withdraws one's own. `false`: it waits no more.
    pub async fn refuse_approval(&self, decided: &Decided) -> Result<bool, DbError> {
        self.db
            .write("approval.refuse", decided.clone(), |tx, decided| Box::pin(end(tx, decided, ApprovalState::Refused)))
            .await
    }

    /// Notes a request whose payment was accepted without it: there is nothing to do.
    pub async fn note_approved(&self, decided: &Decided) -> Result<bool, DbError> {
        self.db
            .write("approval.note", decided.clone(), |tx, decided| Box::pin(end(tx, decided, ApprovalState::Approved)))
            .await
    }
}

async fn ask(tx: &WriteTx, new: &NewApproval) -> Result<Option<Approval>, DbError> {
    let by = &new.audit;
    // A payment is accepted once; of a payment there may be several refunds.
    let (of, number) = match &new.refund_no {
        None => ("kind = 'accept' AND merchant = $1 AND transaction_id = $2", new.transaction_id.as_str()),
        Some(refund_no) => ("kind = 'refund' AND merchant = $1 AND refund_no = $2", refund_no.as_str()),
    };
    let key = || -> [Value; 2] { [new.merchant.as_str().into(), number.into()] };
    let sql =
        format!("UPDATE approvals SET state = 'expired' WHERE {of} AND state = 'waiting' AND expires_at_ms <= $3");
    tx.execute(&sql, key().into_iter().chain([by.at.as_ms().into()])).await?;
    let still = if new.refund_no.is_some() { "state <> 'expired'" } else { "state = 'waiting'" };
    let known = format!("SELECT {COLUMNS} FROM approvals WHERE {of} AND {still}");
    if let Some(row) = tx.one(&known, key()).await? {
        return approval(&row).map(Some);
    }
    let asker = by.actor_id.as_deref().unwrap_or(&by.actor);
    let sql = "SELECT COUNT(*) AS waiting FROM approvals
               WHERE asked_by_id = $1 AND state = 'waiting' AND expires_at_ms > $2";
    let row = tx.one(sql, [asker.into(), by.at.as_ms().into()]).await?;
    if row.map_or(Ok(0), |row| row.get::<i64>("waiting"))? >= MAX_WAITING {
        return Ok(None);
    }
    let sql =
        "INSERT INTO approvals (kind, merchant, order_no, transaction_id, refund_no, amount_fen, currency, reason,
                                      content, asked_by, asked_by_id, asked_from, asked_at_ms, expires_at_ms,
                                      order_amount_fen, class, asked_key_id, state)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, 'waiting')
               ON CONFLICT DO NOTHING RETURNING id";
    let values: [Value; 17] = [
        new.kind.as_str().into(),
        new.merchant.as_str().into(),
        new.order_no.as_ref().map(ToString::to_string).into(),
        new.transaction_id.as_str().into(),
        new.refund_no.as_ref().map(ToString::to_string).into(),
        new.amount.as_i64().into(),
        new.currency.as_str().into(),
        new.reason.as_str().into(),
        new.content.as_str().into(),
        by.actor.as_str().into(),
        asker.into(),
        by.remote_addr.as_str().into(),
        by.at.as_ms().into(),
        new.expires_at.as_ms().into(),
        new.order_amount.map(Fen::as_i64).into(),
        new.class.map(|class| class.as_str().to_owned()).into(),
        new.key.as_str().into(),
    ];
    if let Some(row) = tx.one(sql, values).await? {
        let id = row.get::<i64>("id")?;
        write_audit(tx, &AuditEntry { subject: Some(format!("approval:{id}")), ..by.clone() }).await?;
        write_events(tx, vec![outbox_row(&waiting(id, new))]).await?;
    }
    let row = tx.one(&known, key()).await?;
    approval(&row.ok_or_else(|| DbError::Defect("a request that is gone in its own transaction".into()))?).map(Some)
}

/// So that a second person hears of it.
fn waiting(id: i64, new: &NewApproval) -> EncodedEvent {
    let data = ApprovalWaiting {
        approval: id,
        what: new.kind.as_str(),
        transaction_id: new.transaction_id.clone(),
        refund_no: new.refund_no.clone(),
        amount_fen: new.amount,
        currency: new.currency.clone(),
        asked_by: new.audit.actor.clone(),
        reason: new.reason.clone(),
        expires_at: new.expires_at,
    };
    let (merchant, order_no) = (new.merchant.clone(), new.order_no.clone());
    DomainEvent { merchant, order_no, data: DomainData::ApprovalWaiting(data) }.encode(new.audit.at)
}

/// Whether the request waits, and will until the end of the transaction.
pub(in crate::store) async fn waits(tx: &WriteTx, decided: &Decided) -> Result<bool, DbError> {
    let lock = if tx.kind() == DbKind::Postgres { " FOR UPDATE" } else { "" };
    let sql = format!(
        "SELECT id FROM approvals
         WHERE id = $1 AND state = 'waiting' AND expires_at_ms > $2 AND asked_by_id <> $3{lock}"
    );
    Ok(tx.one(&sql, [decided.id.into(), decided.audit.at.as_ms().into(), by_id(decided).into()]).await?.is_some())
}

/// Writes the decision with its audit, in the transaction of what was approved.
pub(in crate::store) async fn end(tx: &WriteTx, decided: &Decided, state: ApprovalState) -> Result<bool, DbError> {
    let by = &decided.audit;
    let sql = "UPDATE approvals SET state = $2, decided_by = $3, decided_by_id = $4, decided_at_ms = $5,
                                    decision_reason = $6
               WHERE id = $1 AND state = 'waiting' AND expires_at_ms > $5 AND (asked_by_id <> $4 OR $2 = 'refused')";
    let values: [Value; 6] = [
        decided.id.into(),
        state.as_str().into(),
        by.actor.as_str().into(),
        by_id(decided).into(),
        by.at.as_ms().into(),
        by.reason.as_str().into(),
    ];
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    write_audit(tx, by).await?;
    Ok(true)
}

fn by_id(decided: &Decided) -> String {
    decided.audit.actor_id.clone().unwrap_or_else(|| decided.audit.actor.clone())
}
