//! Requests for a second person as they are read.

use super::types::{Approval, ApprovalKind, ApprovalState};
use crate::clock::Timestamp;
use crate::ids::{MerchantKey, OrderNo, OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::order::PaymentClass;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::ops::filter::Conditions;
use crate::store::order::rows::{broken, unknown};
use crate::store::writer::Row;

pub(super) const COLUMNS: &str =
    "id, kind, merchant, order_no, transaction_id, refund_no, amount_fen, order_amount_fen, class, currency, reason,
     content, asked_by, asked_by_id, asked_key_id, asked_from, asked_at_ms, expires_at_ms, state, decided_by,
     decided_at_ms, decision_reason";

impl Store {
    /// Up to `limit` requests, newest first, older than `before`: those that wait at `now`, or all.
    pub async fn approvals(
        &self,
        merchants: Option<&[MerchantKey]>,
        waiting_at: Option<Timestamp>,
        before: Option<i64>,
        limit: u64,
    ) -> Result<Vec<Approval>, DbError> {
        let mut only = Conditions::default();
        only.merchants("merchant", merchants);
        if let Some(now) = waiting_at {
            only.plain("state = 'waiting'");
            only.add("expires_at_ms > {}", now.as_ms());
        }
        only.add_option("id < {}", before);
        let sql = format!("SELECT {COLUMNS} FROM approvals WHERE {} ORDER BY id DESC LIMIT {limit}", only.text());
        self.db.reader().rows(&sql, only.values()).await?.iter().map(approval).collect()
    }

    /// How many requests of each merchant wait at `now`.
    pub async fn waiting_approvals(&self, now: Timestamp) -> Result<Vec<(MerchantKey, i64)>, DbError> {
        let sql = "SELECT merchant, COUNT(*) AS waiting FROM approvals WHERE state = 'waiting' AND expires_at_ms > $1
                   GROUP BY merchant ORDER BY merchant";
        let rows = self.db.reader().rows(sql, [now.as_ms().into()]).await?;
        rows.iter()
            .map(|row| {
                let merchant = MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?;
                Ok((merchant, row.get("waiting")?))
            })
            .collect()
    }

    /// A request by its id.
    pub async fn approval(&self, id: i64) -> Result<Option<Approval>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM approvals WHERE id = $1");
        self.db.reader().rows(&sql, [id.into()]).await?.first().map(approval).transpose()
    }

    /// The newest request of a refund's number.
    pub async fn approval_of_refund(
        &self,
        merchant: &MerchantKey,
        refund_no: &OutRefundNo,
    ) -> Result<Option<Approval>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM approvals WHERE kind = 'refund' AND merchant = $1 AND refund_no = $2
             ORDER BY id DESC LIMIT 1"
        );
        let values = [merchant.as_str().into(), refund_no.as_str().into()];
        self.db.reader().rows(&sql, values).await?.first().map(approval).transpose()
    }
}

pub(super) fn approval(row: &Row) -> Result<Approval, DbError> {
    let word = |column: &str| row.get::<String>(column);
    let (kind, state) = (word("kind")?, word("state")?);
    let class: Option<String> = row.get("class")?;
    Ok(Approval {
        id: row.get("id")?,
        kind: ApprovalKind::parse(&kind).ok_or_else(|| unknown("kind", &kind))?,
        merchant: MerchantKey::parse(word("merchant")?).map_err(broken("merchant"))?,
        order_no: row.get::<Option<String>>("order_no")?.map(OrderNo::parse).transpose().map_err(broken("order_no"))?,
        transaction_id: TransactionId::parse(word("transaction_id")?).map_err(broken("transaction_id"))?,
        refund_no: row
            .get::<Option<String>>("refund_no")?
            .map(OutRefundNo::parse)
            .transpose()
            .map_err(broken("refund_no"))?,
        amount: Fen::from_i64(row.get("amount_fen")?),
        order_amount: row.get::<Option<i64>>("order_amount_fen")?.map(Fen::from_i64),
        class: class.map(|class| PaymentClass::parse(&class).ok_or_else(|| unknown("class", &class))).transpose()?,
        currency: word("currency")?,
        reason: word("reason")?,
        content: word("content")?,
        asked_by: word("asked_by")?,
        asked_by_id: word("asked_by_id")?,
        asked_key_id: word("asked_key_id")?,
        asked_from: word("asked_from")?,
        asked_at: Timestamp::from_ms(row.get("asked_at_ms")?),
        expires_at: Timestamp::from_ms(row.get("expires_at_ms")?),
        state: ApprovalState::parse(&state).ok_or_else(|| unknown("state", &state))?,
        decided_by: row.get("decided_by")?,
        decided_at: row.get::<Option<i64>>("decided_at_ms")?.map(Timestamp::from_ms),
        decision_reason: row.get("decision_reason")?,
    })
}
