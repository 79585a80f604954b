//! Recording and reading orders. Changing them is `commit`'s alone.

use std::collections::HashMap;

use sea_orm::sea_query::{OnConflict, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Set};

use super::rows::{AttemptParams, StoredOrder, stored_order};
use crate::clock::Timestamp;
use crate::event::command::{Idempotency, OrderContent};
use crate::ids::{AppId, EventId, MchId, MerchantKey, OrderNo, OutTradeNo, TransactionId};
use crate::order::{CNY, UNPLACED};
use crate::secret::random_text;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::{attempt, idempotency_key, ledger, order};
use crate::store::writer::WriteTx;

/// An order to be recorded, with its first attempt.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// What the business asked for.
    pub content: OrderContent,
    /// Its hash.
    pub content_hash: String,
    /// The event that asks for it; a repeat of the request has another.
    pub requested_by: EventId,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// Until when it may be paid.
    pub expires_at: Timestamp,
    /// The first attempt's number.
    pub out_trade_no: OutTradeNo,
    /// Who will receive the money.
    pub mch_id: MchId,
    /// Through which app.
    pub appid: AppId,
    /// What WeChat will be sent.
    pub params: AttemptParams,
    /// The caller's own name for the request.
    pub idempotency: Option<Idempotency>,
}

/// What recording an order did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is new.
    New,
    /// It was recorded before with the same content.
    Same,
    /// Its number belongs to an order with other content.
    Differs,
}

impl Store {
    /// Records orders, each with its first attempt and the caller's idempotency key, in one transaction. Results are in
    /// the order of `new`. A number that exists is left as it is.
    pub async fn record_orders(&self, new: &[NewOrder]) -> Result<Vec<Recorded>, DbError> {
        let recorded = self.db.write("order.record", new.to_vec(), |tx, new| Box::pin(record(tx, new))).await?;
        self.changed();
        Ok(recorded)
    }

    /// Orders by the business's numbers.
    pub async fn orders(&self, merchant: &MerchantKey, order_nos: &[OrderNo]) -> Result<Vec<StoredOrder>, DbError> {
        let numbers = order_nos.iter().map(OrderNo::as_str);
        let rows = order::Entity::find()
            .filter(order::Column::Merchant.eq(merchant.as_str()))
            .filter(order::Column::OrderNo.is_in(numbers))
            .all(self.db.read())
            .await?;
        self.with_attempts(rows).await
    }

    /// One order by the business's number.
    pub async fn order(&self, merchant: &MerchantKey, order_no: &OrderNo) -> Result<Option<StoredOrder>, DbError> {
        Ok(self.orders(merchant, std::slice::from_ref(order_no)).await?.pop())
    }

    /// Orders by their attempts' numbers at WeChat.
    pub async fn orders_by_out_trade_no(
        &self,
        merchant: &MerchantKey,
        numbers: &[OutTradeNo],
    ) -> Result<Vec<StoredOrder>, DbError> {
        let of_attempts = attempt::Entity::find()
            .select_only()
            .column(attempt::Column::OrderId)
            .filter(attempt::Column::Merchant.eq(merchant.as_str()))
            .filter(attempt::Column::OutTradeNo.is_in(numbers.iter().map(OutTradeNo::as_str)))
            .into_query();
        let rows = order::Entity::find().filter(order::Column::Id.in_subquery(of_attempts)).all(self.db.read()).await?;
        self.with_attempts(rows).await
    }

    /// The content hash and order number recorded under a caller's idempotency key.
    pub async fn idempotency(&self, key: &Idempotency) -> Result<Option<idempotency_key::Model>, DbError> {
        let id = (key.api_key.clone(), key.key.clone());
        Ok(idempotency_key::Entity::find_by_id(id).one(self.db.read()).await?)
    }

    async fn with_attempts(&self, rows: Vec<order::Model>) -> Result<Vec<StoredOrder>, DbError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut attempts: HashMap<i64, Vec<attempt::Model>> = HashMap::new();
        let found = attempt::Entity::find()
            .filter(attempt::Column::OrderId.is_in(rows.iter().map(|o| o.id)))
            .order_by_asc(attempt::Column::N)
            .all(self.db.read())
            .await?;
        for a in found {
            attempts.entry(a.order_id).or_default().push(a);
        }
        let mut transactions: HashMap<i64, Vec<TransactionId>> = HashMap::new();
        let paid: Vec<i64> = rows.iter().filter(|o| o.transaction_id.is_some()).map(|o| o.id).collect();
        if !paid.is_empty() {
            let entries =
                ledger::Entity::find().filter(ledger::Column::OrderId.is_in(paid)).all(self.db.read()).await?;
            for e in entries {
                let id = TransactionId::parse(e.transaction_id).map_err(|e| DbError::Defect(e.to_string()))?;
                transactions.entry(e.order_id).or_default().push(id);
            }
        }
        rows.into_iter()
            .map(|o| {
                let attempts = attempts.remove(&o.id).unwrap_or_default();
                let transactions = transactions.remove(&o.id).unwrap_or_default();
                stored_order(o, attempts, transactions)
            })
            .collect()
    }
}

async fn record(tx: &WriteTx, new: &[NewOrder]) -> Result<Vec<Recorded>, DbError> {
    // In the order of the numbers: two processes that record the same orders must not lock them crosswise.
    let mut sorted: Vec<&NewOrder> = new.iter().collect();
    sorted.sort_by_key(|n| (&n.content.merchant, &n.content.order_no));
    let rows = sorted.into_iter().map(order_row).collect::<Result<Vec<_>, _>>()?;
    let mut ids: HashMap<(String, String), i64> = HashMap::with_capacity(new.len());
    for rows in rows.chunks(tx.rows_per_statement()) {
        let known = OnConflict::columns([order::Column::Merchant, order::Column::OrderNo]).do_nothing().to_owned();
        let mut insert = order::Entity::insert_many(rows.to_vec()).on_conflict(known);
        let returned = [order::Column::Id, order::Column::Merchant, order::Column::OrderNo];
        insert.query().returning(Query::returning().columns(returned));
        for row in tx.returning(&insert).await? {
            ids.insert((row.get("merchant")?, row.get("order_no")?), row.get("id")?);
        }
    }
    let mut attempts = Vec::new();
    let mut keys = Vec::new();
    let mut recorded = Vec::with_capacity(new.len());
    for n in new {
        // Taken out, so that the second of two equal requests in one batch is a repeat and not new again.
        let key = (n.content.merchant.to_string(), n.content.order_no.to_string());
        match ids.remove(&key) {
            Some(id) => {
                attempts.push(attempt_row(n, id)?);
                keys.extend(n.idempotency.as_ref().map(|i| idempotency_row(n, i)));
                recorded.push(Recorded::New);
            }
            None => recorded.push(Recorded::Differs),
        }
    }
    tx.insert_all(attempts, None).await?;
    tx.insert_all(keys, Some(OnConflict::new().do_nothing().to_owned())).await?;
    compare_repeats(tx, new, &mut recorded).await?;
    Ok(recorded)
}

async fn compare_repeats(tx: &WriteTx, new: &[NewOrder], recorded: &mut [Recorded]) -> Result<(), DbError> {
    for (n, r) in new.iter().zip(recorded.iter_mut()).filter(|(_, r)| **r == Recorded::Differs) {
        let existing = tx
            .find_one(
                order::Entity::find()
                    .filter(order::Column::Merchant.eq(n.content.merchant.as_str()))
                    .filter(order::Column::OrderNo.eq(n.content.order_no.as_str())),
            )
            .await?;
        if existing.is_some_and(|o| o.content_hash == n.content_hash) {
            *r = Recorded::Same;
        }
    }
    Ok(())
}

fn order_row(n: &NewOrder) -> Result<order::ActiveModel, DbError> {
    let content = serde_json::to_string(&n.content).map_err(|e| DbError::Defect(e.to_string()))?;
    Ok(order::ActiveModel {
        id: sea_orm::NotSet,
        merchant: Set(n.content.merchant.to_string()),
        order_no: Set(n.content.order_no.to_string()),
        app: Set(n.content.app.to_string()),
        state: Set("requested".into()),
        version: Set(1),
        amount_fen: Set(n.content.amount_fen.as_i64()),
        currency: Set(CNY.into()),
        refunded_fen: Set(0),
        content: Set(content),
        content_hash: Set(n.content_hash.clone()),
        requested_by: Set(n.requested_by.to_string()),
        order_token: Set(random_text(32)),
        outcome_unknown: Set(false),
        paid_late: Set(false),
        paid_twice: Set(false),
        amount_mismatch: Set(false),
        failure_code: Set(None),
        failure_message: Set(None),
        transaction_id: Set(None),
        paid_at_ms: Set(None),
        created_at_ms: Set(n.created_at.as_ms()),
        expires_at_ms: Set(n.expires_at.as_ms()),
        updated_at_ms: Set(n.created_at.as_ms()),
        queries_done: Set(0),
        // If the worker that places it dies, and the queue with it, the question brings it back.
        next_query_at_ms: Set(Some(n.created_at.after(UNPLACED).as_ms())),
        intent: Set(None),
        intent_trade_type: Set(None),
        intent_expires_at_ms: Set(None),
        intent_params: Set(None),
        paid_told: Set(false),
        next_look_at_ms: Set(None),
        answered_at_ms: Set(None),
    })
}

fn attempt_row(n: &NewOrder, order_id: i64) -> Result<attempt::ActiveModel, DbError> {
    Ok(attempt::ActiveModel {
        id: sea_orm::NotSet,
        order_id: Set(order_id),
        merchant: Set(n.content.merchant.to_string()),
        out_trade_no: Set(n.out_trade_no.to_string()),
        n: Set(1),
        trade_type: Set(n.content.trade_type.as_str().into()),
        mch_id: Set(n.mch_id.to_string()),
        appid: Set(n.appid.to_string()),
        sign_type: Set(n.params.sign_type.clone()),
        params: Set(n.params.to_json()?),
        state: Set("created".into()),
        prepay_id: Set(None),
        code_url: Set(None),
        mweb_url: Set(None),
        prepay_issued_at_ms: Set(None),
        transaction_id: Set(None),
        error_code: Set(None),
        error_message: Set(None),
        created_at_ms: Set(n.created_at.as_ms()),
    })
}

fn idempotency_row(n: &NewOrder, key: &Idempotency) -> idempotency_key::ActiveModel {
    idempotency_key::ActiveModel {
        api_key: Set(key.api_key.clone()),
        idempotency_key: Set(key.key.clone()),
        content_hash: Set(n.content_hash.clone()),
        merchant: Set(n.content.merchant.to_string()),
        order_no: Set(n.content.order_no.to_string()),
        created_at_ms: Set(n.created_at.as_ms()),
    }
}
