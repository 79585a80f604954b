//! Recording orders, and their tokens. Changing them is `commit`'s alone.

use std::collections::HashMap;

use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Set, Value};

use super::claims::{Claim, Claimed, claim_all, take_back};
use super::rows::{AttemptParams, StoredOrder};
use crate::clock::Timestamp;
use crate::event::command::{Idempotency, OrderContent};
use crate::ids::{AppId, EventId, MchId, OutTradeNo};
use crate::money::Fen;
use crate::order::{Attempt, AttemptState, CNY, Flags, Order, OrderState, Queries, UNPLACED};
use crate::secret::{Secret, random_text};
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::entity::{attempt, order};
use crate::store::packed::rows::write_order;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::{Holds, Outcome, Rowwise, WriteTx};

/// The version that an order is recorded in.
const FIRST_VERSION: i64 = 1;

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
    /// Who records it places it at WeChat, and no other process before this time: see [`Store::claim_placing`].
    pub placing_until: Option<Timestamp>,
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
    /// The caller's idempotency key names another order, or other content. Nothing was recorded.
    KeyReused,
}

/// The row of an order that was recorded.
#[derive(Debug, Clone)]
pub struct RecordedRow {
    id: i64,
    order_token: Secret,
}

impl NewOrder {
    /// The order as it is read from its row until something changes it.
    pub fn as_stored(&self, row: &RecordedRow) -> StoredOrder {
        let attempt = Attempt {
            out_trade_no: self.out_trade_no.clone(),
            n: 1,
            trade_type: self.content.trade_type,
            mch_id: self.mch_id.clone(),
            appid: self.appid.clone(),
            created_at: self.created_at,
            state: AttemptState::Created,
            prepay: None,
            transaction_id: None,
            error: None,
            setup_refusals: None,
        };
        let order = Order {
            id: row.id,
            version: FIRST_VERSION,
            merchant: self.content.merchant.clone(),
            order_no: self.content.order_no.clone(),
            app: self.content.app.clone(),
            amount: self.content.amount_fen,
            state: OrderState::Requested,
            flags: Flags::default(),
            failure: None,
            paid_by: None,
            paid_reported: false,
            intent: None,
            created_at: self.created_at,
            expires_at: self.expires_at,
            queries: Queries { done: 0, next_at: Some(self.polled_at()), answered_at: self.answered_at() },
            attempts: vec![attempt],
            payments: Vec::new(),
        };
        StoredOrder {
            order,
            content: self.content.clone(),
            content_hash: self.content_hash.clone(),
            requested_by: self.requested_by,
            order_token: row.order_token.clone(),
            refunded: Fen::ZERO,
            updated_at: self.created_at,
            placing_until: self.placing_until,
            params: vec![self.params.clone()],
            wanted: None,
        }
    }

    /// If the process that places it dies, and the queue with it, the question brings it back.
    fn polled_at(&self) -> Timestamp {
        self.placing_until.unwrap_or_else(|| self.created_at.after(UNPLACED))
    }

    /// To a worker of the version before, which knows no claim, WeChat may then have been called for it.
    fn answered_at(&self) -> Option<Timestamp> {
        self.placing_until.map(|_| self.created_at)
    }
}

impl Store {
    /// Puts another token in the place of an order's, with the audit row: the one before opens nothing any more.
    pub async fn replace_order_token(&self, order_id: i64, audit: &AuditEntry) -> Result<(), DbError> {
        let write = (order_id, random_text(32), audit.clone());
        self.db.write("order.token", write, |tx, write| Box::pin(replace_token(tx, write))).await?;
        self.changed();
        Ok(())
    }

    /// Records orders, each with its first attempt and the claim of the caller's idempotency key, in one transaction.
    /// Results are in the order of `new`. A number that exists is left as it is; a key that names another order
    /// records none.
    ///
    /// [`DbError::Exists`]: an attempt of another order has the number of a first attempt.
    pub async fn record_orders(&self, new: &[NewOrder]) -> Result<Vec<Recorded>, DbError> {
        Ok(self.record_new_orders(new).await?.into_iter().map(|(recorded, _)| recorded).collect())
    }

    /// The same, with the rows of those that are new.
    pub async fn record_new_orders(&self, new: &[NewOrder]) -> Result<Vec<(Recorded, Option<RecordedRow>)>, DbError> {
        let recorded = self.db.write("order.record", new.to_vec(), |tx, new| Box::pin(record(tx, new))).await?;
        self.changed();
        Ok(recorded)
    }
}

async fn record(tx: &WriteTx, new: &[NewOrder]) -> Result<Vec<(Recorded, Option<RecordedRow>)>, DbError> {
    let claims: Vec<Option<Claim>> = new.iter().map(claim_of).collect();
    let keyed: Vec<Claim> = claims.iter().flatten().cloned().collect();
    let mut outcomes = claim_all(tx, &keyed).await?.into_iter();
    let claimed: Vec<Option<Claimed>> = claims.iter().map(|c| c.as_ref().and_then(|_| outcomes.next())).collect();
    let may: Vec<bool> = claimed.iter().map(|claimed| *claimed != Some(Claimed::Taken)).collect();
    let mut inserted =
        insert_orders(tx, new.iter().zip(&may).filter(|(_, may)| **may).map(|(n, _)| n).collect()).await?;
    let mut recorded = Vec::with_capacity(new.len());
    let mut rows = Vec::with_capacity(new.len());
    for (n, may) in new.iter().zip(may) {
        if !may {
            recorded.push(Recorded::KeyReused);
            rows.push(None);
            continue;
        }
        // Taken out, so that the second of two equal requests in one batch is a repeat and not new again.
        let row = inserted.remove(&key_of(n));
        recorded.push(if row.is_some() { Recorded::New } else { Recorded::Differs });
        rows.push(row);
    }
    compare_repeats(tx, new, &mut recorded).await?;
    for ((claim, claimed), recorded) in claims.iter().zip(claimed).zip(&recorded) {
        if let (Some(claim), Some(Claimed::New), Recorded::Differs) = (claim, claimed, recorded) {
            take_back(tx, claim).await?;
        }
    }
    Ok(recorded.into_iter().zip(rows).collect())
}

/// Records those that are new, with their attempts; their rows by merchant and number.
async fn insert_orders(
    tx: &WriteTx,
    mut new: Vec<&NewOrder>,
) -> Result<HashMap<(String, String), RecordedRow>, DbError> {
    // In the order of the numbers: two processes that record the same orders must not lock them crosswise.
    new.sort_by_key(|n| (&n.content.merchant, &n.content.order_no));
    new.dedup_by_key(|n| (&n.content.merchant, &n.content.order_no));
    let tokens: Vec<String> = new.iter().map(|_| random_text(32)).collect();
    let with_tokens = new.iter().zip(&tokens);
    let mut rows = with_tokens.map(|(n, token)| order_row(n, token.clone())).collect::<Result<Vec<_>, _>>()?;
    rows.iter_mut().for_each(|row| write_order(tx, row));
    let ids = match tx.kind() {
        DbKind::Sqlite => insert_one_by_one(tx, &new, rows).await?,
        DbKind::Postgres => insert_together(tx, &new, rows).await?,
    };
    let recorded = |((n, token), id): ((&NewOrder, String), Option<i64>)| {
        Some((key_of(n), RecordedRow { id: id?, order_token: Secret::new(token) }))
    };
    Ok(new.into_iter().zip(tokens).zip(ids).filter_map(recorded).collect())
}

fn known() -> OnConflict {
    OnConflict::columns([order::Column::Merchant, order::Column::OrderNo]).do_nothing().to_owned()
}

/// The number of each row that is new, with its attempt.
async fn insert_one_by_one(
    tx: &WriteTx,
    new: &[&NewOrder],
    rows: Vec<order::ActiveModel>,
) -> Result<Vec<Option<i64>>, DbError> {
    let Outcome::Each(ids) = tx.insert_new(rows, known(), &[]).await? else {
        return Err(DbError::Defect("SQLite says of each row whether it is new".into()));
    };
    let inserted = new.iter().zip(&ids).filter_map(|(n, id)| Some((n, (*id)?)));
    let attempts = inserted.map(|(n, id)| attempt_row(n, id)).collect::<Result<Vec<_>, _>>()?;
    tx.insert_all(attempts, None).await?;
    Ok(ids)
}

/// The same on PostgreSQL, in one statement.
async fn insert_together(
    tx: &WriteTx,
    new: &[&NewOrder],
    rows: Vec<order::ActiveModel>,
) -> Result<Vec<Option<i64>>, DbError> {
    static INSERT_ATTEMPTS: Rowwise = Rowwise::new(
        &[
            ("order_no", Holds::Text),
            ("merchant", Holds::Text),
            ("out_trade_no", Holds::Text),
            ("trade_type", Holds::Text),
            ("mch_id", Holds::Text),
            ("appid", Holds::Text),
            ("sign_type", Holds::Text),
            ("params", Holds::Text),
            ("created_at_ms", Holds::Integer),
        ],
        "INSERT INTO attempts (order_id, merchant, out_trade_no, n, trade_type, mch_id, appid, sign_type, params, state,
                               created_at_ms)
         SELECT recorded.id, v.merchant, v.out_trade_no, 1, v.trade_type, v.mch_id, v.appid, v.sign_type, v.params,
                'created', v.created_at_ms
         {from} JOIN recorded ON recorded.merchant = v.merchant AND recorded.order_no = v.order_no",
    )
    .returning("order_id, merchant, out_trade_no");
    let attempt = |n: &&NewOrder| -> Result<Vec<Value>, DbError> {
        Ok(vec![
            n.content.order_no.to_string().into(),
            n.content.merchant.to_string().into(),
            n.out_trade_no.to_string().into(),
            n.content.trade_type.as_str().into(),
            n.mch_id.to_string().into(),
            n.appid.to_string().into(),
            n.params.sign_type.clone().into(),
            n.params.to_json()?.into(),
            n.created_at.as_ms().into(),
        ])
    };
    let attempts = new.iter().map(attempt).collect::<Result<Vec<_>, _>>()?;
    tx.insert_new_as("recorded", rows, known(), &[order::Column::Id, order::Column::Merchant, order::Column::OrderNo])?;
    let mut ids: HashMap<(String, String), i64> = HashMap::new();
    if let Outcome::Returned(rows) = tx.over_behind(&INSERT_ATTEMPTS, &attempts).await? {
        for row in rows {
            ids.insert((row.get("merchant")?, row.get("out_trade_no")?), row.get("order_id")?);
        }
    }
    let number = |n: &&NewOrder| ids.get(&(n.content.merchant.to_string(), n.out_trade_no.to_string())).copied();
    Ok(new.iter().map(number).collect())
}

/// The merchant and the number.
fn key_of(n: &NewOrder) -> (String, String) {
    (n.content.merchant.to_string(), n.content.order_no.to_string())
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

fn order_row(n: &NewOrder, order_token: String) -> Result<order::ActiveModel, DbError> {
    let content = serde_json::to_string(&n.content).map_err(|e| DbError::Defect(e.to_string()))?;
    Ok(order::ActiveModel {
        id: sea_orm::NotSet,
        merchant: Set(n.content.merchant.to_string()),
        order_no: Set(n.content.order_no.to_string()),
        app: Set(n.content.app.to_string()),
        state: Set("requested".into()),
        version: Set(FIRST_VERSION),
        amount_fen: Set(n.content.amount_fen.as_i64()),
        currency: Set(CNY.into()),
        refunded_fen: Set(0),
        content: Set(content),
        content_hash: Set(n.content_hash.clone()),
        requested_by: Set(n.requested_by.to_string()),
        order_token: Set(order_token),
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
        next_query_at_ms: Set(Some(n.polled_at().as_ms())),
        intent: Set(None),
        intent_trade_type: Set(None),
        intent_expires_at_ms: Set(None),
        intent_params: Set(None),
        paid_told: Set(false),
        next_look_at_ms: Set(None),
        answered_at_ms: Set(n.answered_at().map(Timestamp::as_ms)),
        paid_before_order: Set(false),
        packed: Set(None),
        placing_until_ms: Set(n.placing_until.map(Timestamp::as_ms)),
        placing_version: Set(n.placing_until.map(|_| FIRST_VERSION)),
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
        said: Set(None),
        setup_refusals: Set(None),
    })
}

fn claim_of(n: &NewOrder) -> Option<Claim> {
    n.idempotency.as_ref().map(|key| Claim {
        key: key.clone(),
        merchant: n.content.merchant.to_string(),
        order_no: n.content.order_no.to_string(),
        content_hash: n.content_hash.clone(),
        at: n.created_at,
    })
}

async fn replace_token(tx: &WriteTx, (order_id, token, audit): &(i64, String, AuditEntry)) -> Result<(), DbError> {
    let sql = "UPDATE orders SET order_token = $2 WHERE id = $1";
    if tx.execute(sql, [(*order_id).into(), token.as_str().into()]).await? != 1 {
        return Err(DbError::Defect("the order whose token ends has no row".into()));
    }
    write_audit(tx, audit).await
}
