//! Where payments enter and change their class, each with a row of the ledger, inside the transaction of the order's or
//! the refund's change.
//!
//! What must stay true: a payment has one row and one class; a class changes by compare-and-set; the ledger has one row
//! per entry and per change, and none is ever updated.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{DbErr, EntityTrait, Set};

use crate::clock::Timestamp;
use crate::event::fact::Payment;
use crate::ids::{MerchantKey, TransactionId};
use crate::order::{Order, PaymentChange, PaymentClass, PaymentEntry};
use crate::refund::Refund;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::{ledger, payment};
use crate::store::order::rows::{broken, readable};
use crate::store::writer::{Row, WriteTx};

/// A change of a payment's class by an operator.
#[derive(Debug, Clone)]
pub struct Reclassed {
    /// From which class to which.
    pub change: PaymentChange,
    /// The operator's reason.
    pub reason: String,
    /// The name of the API key or operator, and who approved it.
    pub by: String,
}

/// A payment that enters.
pub(in crate::store) struct Entered<'a> {
    pub merchant: &'a MerchantKey,
    /// The order, as it is after the change, and the version that entered the payment.
    pub order: Option<(&'a Order, i64)>,
    pub entry: &'a PaymentEntry,
    /// The source that reported it.
    pub evidence: Option<String>,
}

/// Enters payments of orders. One that is of no order so far becomes the order's. [`DbError::Exists`] if one is another
/// order's, or goes or went back as a payment of no order and is entered as one that does not.
pub(in crate::store) async fn enter(tx: &WriteTx, entered: &[Entered<'_>], at: Timestamp) -> Result<(), DbError> {
    if entered.is_empty() {
        return Ok(());
    }
    // In the order of the numbers: two processes that enter the same payments must not lock them crosswise.
    let mut sorted: Vec<&Entered<'_>> = entered.iter().collect();
    sorted.sort_by_key(|e| (e.merchant, &e.entry.transaction_id));
    let mut versions: HashMap<(String, String), i64> = HashMap::with_capacity(sorted.len());
    let rows_of = |entered: &[&Entered<'_>]| entered.iter().map(|e| payment_row(e, at)).collect();
    let mut asked = sorted.clone();
    // Nearly all are new: where each row says whether it is, only the others are asked for their version.
    if let Some(new) = tx.insert_each(|| rows_of(&sorted), OnConflict::new().do_nothing().to_owned())? {
        let (new, known): (Vec<_>, Vec<_>) = sorted.iter().copied().zip(new).partition(|(_, new)| *new);
        let key = |e: &Entered<'_>| (e.merchant.to_string(), e.entry.transaction_id.to_string());
        versions.extend(new.into_iter().map(|(e, _)| (key(e), 1)));
        asked = known.into_iter().map(|(e, _)| e).collect();
    }
    let returned = [payment::Column::Merchant, payment::Column::TransactionId, payment::Column::Version];
    for row in tx.insert_returning(rows_of(&asked), Some(matched()), &returned).await? {
        versions.insert((row.get("merchant")?, row.get("transaction_id")?), row.get("version")?);
    }
    let mut entries = Vec::with_capacity(entered.len());
    for e in sorted {
        let key = (e.merchant.to_string(), e.entry.transaction_id.to_string());
        let version = versions.remove(&key).ok_or_else(|| DbError::Exists(DbErr::RecordNotInserted))?;
        // Its row is locked by now, and with it the reservations of its refunds.
        if version > 1 && e.entry.class == PaymentClass::Credited && goes_back(tx, e).await? {
            return Err(DbError::Exists(DbErr::RecordNotInserted));
        }
        entries.push(entry_row(e, version, at));
    }
    tx.insert_later(entries, None)
}

/// A payment of no order so far becomes this order's; any other one stays as it is, and one that was returned is that.
fn matched() -> OnConflict {
    use payment::Column::{Class, Merchant, OrderId, OrderNo, Reason, TransactionId, UpdatedAtMs, Version};
    let unmatched = "payments.order_id IS NULL AND (payments.class = 'returned') = (excluded.class = 'returned')";
    OnConflict::columns([Merchant, TransactionId])
        .update_columns([Class, Reason, OrderId, OrderNo, UpdatedAtMs])
        .value(Version, Expr::col((payment::Entity, Version)).add(1))
        .action_and_where(Expr::cust(unmatched))
        .to_owned()
}

async fn goes_back(tx: &WriteTx, e: &Entered<'_>) -> Result<bool, DbError> {
    let sql = "SELECT 1 AS reserved FROM refund_totals
               WHERE merchant = $1 AND transaction_id = $2 AND reserved_fen > 0";
    let values = [e.merchant.as_str().into(), e.entry.transaction_id.as_str().into()];
    Ok(tx.one(sql, values).await?.is_some())
}

fn payment_row(e: &Entered<'_>, at: Timestamp) -> payment::ActiveModel {
    let p = e.entry;
    payment::ActiveModel {
        id: sea_orm::NotSet,
        merchant: Set(e.merchant.to_string()),
        transaction_id: Set(p.transaction_id.to_string()),
        version: Set(1),
        class: Set(p.class.as_str().into()),
        reason: Set(p.reason.map(|reason| reason.as_str().into())),
        order_id: Set(e.order.map(|(order, _)| order.id)),
        order_no: Set(e.order.map(|(order, _)| order.order_no.to_string())),
        out_trade_no: Set(p.out_trade_no.to_string()),
        mch_id: Set(p.mch_id.to_string()),
        appid: Set(p.appid.to_string()),
        amount_fen: Set(p.amount.as_i64()),
        currency: Set(p.currency.clone()),
        paid_at_ms: Set(p.occurred_at.as_ms()),
        recorded_at_ms: Set(at.as_ms()),
        updated_at_ms: Set(at.as_ms()),
    }
}

fn entry_row(e: &Entered<'_>, version: i64, at: Timestamp) -> ledger::ActiveModel {
    let p = e.entry;
    let is_new = version == 1;
    // What was returned stays that.
    let before = if p.class == PaymentClass::Returned { p.class } else { PaymentClass::Unmatched };
    ledger::ActiveModel {
        id: sea_orm::NotSet,
        merchant: Set(e.merchant.to_string()),
        order_id: Set(e.order.map(|(order, _)| order.id)),
        order_version: Set(e.order.map_or(0, |(_, version)| version)),
        order_no: Set(e.order.map(|(order, _)| order.order_no.to_string())),
        out_trade_no: Set(p.out_trade_no.to_string()),
        entry: Set(if is_new { "payment" } else { "matched" }.into()),
        transaction_id: Set(p.transaction_id.to_string()),
        amount_fen: Set(p.amount.as_i64()),
        currency: Set(p.currency.clone()),
        occurred_at_ms: Set(p.occurred_at.as_ms()),
        recorded_at_ms: Set(at.as_ms()),
        from_class: Set((!is_new).then(|| before.as_str().into())),
        to_class: Set(Some(p.class.as_str().into())),
        payment_version: Set(Some(version)),
        reason: Set(p.reason.map(|reason| reason.as_str().into())),
        done_by: Set(None),
        evidence: Set(e.evidence.clone()),
    }
}

/// Enters a payment of no order, unless it is known; whether it was not.
pub(in crate::store) async fn enter_unmatched(
    tx: &WriteTx,
    merchant: &MerchantKey,
    p: &Payment,
    evidence: String,
    at: Timestamp,
) -> Result<bool, DbError> {
    let entry = PaymentEntry {
        out_trade_no: p.out_trade_no.clone(),
        transaction_id: p.transaction_id.clone(),
        mch_id: p.mch_id.clone(),
        appid: p.appid.clone(),
        amount: p.total_fee,
        currency: p.fee_type.clone(),
        occurred_at: p.time_end,
        class: PaymentClass::Unmatched,
        reason: None,
    };
    let entered = Entered { merchant, order: None, entry: &entry, evidence: Some(evidence) };
    let known = OnConflict::new().do_nothing().to_owned();
    let is_new = tx.insert_all(vec![payment_row(&entered, at)], Some(known)).await? > 0;
    if is_new {
        tx.run(&ledger::Entity::insert(entry_row(&entered, 1, at))).await?;
    }
    Ok(is_new)
}

/// Changes a payment's class as an operator decided; whether it still had the class that was decided on.
pub(in crate::store) async fn reclass(
    tx: &WriteTx,
    order: &Order,
    r: &Reclassed,
    at: Timestamp,
) -> Result<bool, DbError> {
    let entry = Entry {
        name: "accepted",
        from: r.change.from,
        to: r.change.to,
        order_version: order.version,
        at,
        reason: Some(&r.reason),
        by: Some(&r.by),
        evidence: format!("request:{}", r.by),
    };
    change_class(tx, &order.merchant, &r.change.transaction_id, &entry).await
}

/// A payment that does not count and of which everything went back is returned. The refund's change has the lock.
pub(in crate::store) async fn return_whole(tx: &WriteTx, refund: &Refund, at: Timestamp) -> Result<(), DbError> {
    let (merchant, transaction_id) = (&refund.merchant, &refund.transaction_id);
    let sql = "SELECT p.class AS class FROM payments AS p
               JOIN refund_totals AS t ON t.merchant = p.merchant AND t.transaction_id = p.transaction_id
               WHERE p.merchant = $1 AND p.transaction_id = $2 AND t.refunded_fen = t.paid_fen";
    let row = tx.one(sql, [merchant.as_str().into(), transaction_id.as_str().into()]).await?;
    let class: Option<String> = row.map(|row| row.get("class")).transpose()?;
    let Some(from @ (PaymentClass::Held | PaymentClass::Unmatched)) = class.as_deref().and_then(PaymentClass::parse)
    else {
        return Ok(());
    };
    let entry = Entry {
        name: "returned",
        from,
        to: PaymentClass::Returned,
        order_version: 0,
        at,
        reason: None,
        by: None,
        evidence: format!("refund:{}", refund.refund_no),
    };
    change_class(tx, merchant, transaction_id, &entry).await?;
    Ok(())
}

impl Store {
    /// Whether there is anything for [`Store::return_refunded`] to do.
    pub async fn has_refunded(&self) -> Result<bool, DbError> {
        Ok(!self.db.reader().rows(REFUNDED, [1_i64.into()]).await?.is_empty())
    }

    /// Calls held payments returned of which everything went back by a process of the version before, which knows no
    /// classes. Returns how many.
    pub async fn return_refunded(&self, limit: u32, at: Timestamp) -> Result<u64, DbError> {
        let found = self.db.reader().rows(REFUNDED, [i64::from(limit).into()]).await?;
        let number = |row: &Row| row.get::<String>("transaction_id");
        let payment = |row: &Row| {
            let merchant = MerchantKey::parse(row.get::<String>("merchant")?).map_err(broken("merchant"))?;
            Ok((merchant, TransactionId::parse(number(row)?).map_err(broken("transaction_id"))?))
        };
        let mut returned = 0;
        for (merchant, transaction_id) in readable("payment", &found, u64::MAX, number, payment) {
            let write = (merchant, transaction_id, at);
            let done = self.db.write("payment.returned", write, |tx, (merchant, transaction_id, at)| {
                let entry = Entry {
                    name: "returned",
                    from: PaymentClass::Held,
                    to: PaymentClass::Returned,
                    order_version: 0,
                    at: *at,
                    reason: None,
                    by: None,
                    evidence: "refund_totals".to_owned(),
                };
                Box::pin(async move { change_class(tx, merchant, transaction_id, &entry).await })
            });
            returned += u64::from(done.await?);
        }
        Ok(returned)
    }
}

/// Held payments of which everything went back.
pub(in crate::store) const REFUNDED: &str =
    "SELECT p.merchant AS merchant, p.transaction_id AS transaction_id FROM payments AS p
     JOIN refund_totals AS t ON t.merchant = p.merchant AND t.transaction_id = p.transaction_id
     WHERE p.class = 'held' AND t.refunded_fen = t.paid_fen LIMIT $1";

/// A ledger row about a change of class.
struct Entry<'a> {
    name: &'static str,
    from: PaymentClass,
    to: PaymentClass,
    order_version: i64,
    at: Timestamp,
    reason: Option<&'a str>,
    by: Option<&'a str>,
    evidence: String,
}

async fn change_class(
    tx: &WriteTx,
    merchant: &MerchantKey,
    transaction_id: &TransactionId,
    e: &Entry<'_>,
) -> Result<bool, DbError> {
    let sql = "UPDATE payments SET class = $4, version = version + 1, updated_at_ms = $5
               WHERE merchant = $1 AND transaction_id = $2 AND class = $3";
    let key = [merchant.as_str().into(), transaction_id.as_str().into()];
    let values = key.clone().into_iter().chain([e.from.as_str().into(), e.to.as_str().into(), e.at.as_ms().into()]);
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    let sql = "INSERT INTO ledger (merchant, order_id, order_version, order_no, out_trade_no, entry, transaction_id,
                                   amount_fen, currency, occurred_at_ms, recorded_at_ms, from_class, to_class,
                                   payment_version, reason, done_by, evidence)
               SELECT merchant, order_id, CAST($3 AS BIGINT), order_no, out_trade_no, $4, transaction_id, amount_fen,
                      currency, CAST($5 AS BIGINT), CAST($5 AS BIGINT), $6, class, version, $7, $8, $9
               FROM payments WHERE merchant = $1 AND transaction_id = $2";
    let values = key.into_iter().chain([
        e.order_version.into(),
        e.name.into(),
        e.at.as_ms().into(),
        e.from.as_str().into(),
        e.reason.map(str::to_owned).into(),
        e.by.map(str::to_owned).into(),
        e.evidence.clone().into(),
    ]);
    tx.execute(sql, values).await?;
    Ok(true)
}
