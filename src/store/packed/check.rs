//! Finding packed rows that cannot be read, and showing what a packed row says.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value};

use super::codec::Unreadable;
use super::rows::{defect, read_event, read_evidence, read_notification, read_order, read_refund_evidence};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::{evidence, notification, order, outbox, refund_evidence};

/// Rows that are read at once.
const ROWS: u64 = 500;

/// A table with packed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackedTable {
    /// Events; a row's id is that of the row.
    Outbox,
    /// Why an order changed.
    Evidence,
    /// Why a refund changed.
    RefundEvidence,
    /// What WeChat posted; a row's id is the notification's.
    Notifications,
    /// What the business asked for.
    Orders,
}

named!(PackedTable {
    Outbox = "outbox",
    Evidence = "evidence",
    RefundEvidence = "refund_evidence",
    Notifications = "notifications",
    Orders = "orders",
});

/// A packed row that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableRow {
    /// Its key in the table.
    pub id: String,
    /// Why.
    pub why: Unreadable,
}

/// How the rows of a table are found and read.
struct Rows<E: EntityTrait> {
    key: E::Column,
    packed: E::Column,
    id: fn(&E::Model) -> Value,
    text: fn(&E::Model) -> Result<Vec<u8>, Unreadable>,
}

const OUTBOX: Rows<outbox::Entity> = Rows {
    key: outbox::Column::Id,
    packed: outbox::Column::Packed,
    id: |row| row.id.into(),
    text: |row| read_event(row).map(|(_, payload)| payload.into_bytes()),
};

const EVIDENCE: Rows<evidence::Entity> = Rows {
    key: evidence::Column::Id,
    packed: evidence::Column::Packed,
    id: |row| row.id.into(),
    text: |row| read_evidence(row).map(joined),
};

const REFUND_EVIDENCE: Rows<refund_evidence::Entity> = Rows {
    key: refund_evidence::Column::Id,
    packed: refund_evidence::Column::Packed,
    id: |row| row.id.into(),
    text: |row| read_refund_evidence(row).map(joined),
};

const NOTIFICATIONS: Rows<notification::Entity> = Rows {
    key: notification::Column::EventId,
    packed: notification::Column::Packed,
    id: |row| row.event_id.clone().into(),
    text: |row| read_notification(row).map(|(headers, body)| [headers.as_bytes(), b"\n", &body].concat()),
};

const ORDERS: Rows<order::Entity> = Rows {
    key: order::Column::Id,
    packed: order::Column::Packed,
    id: |row| row.id.into(),
    text: |row| read_order(row).map(String::into_bytes),
};

impl Store {
    /// The packed rows of a table that cannot be read. Reads all of them.
    pub async fn unreadable_rows(&self, table: PackedTable) -> Result<Vec<UnreadableRow>, DbError> {
        match table {
            PackedTable::Outbox => unreadable(self, OUTBOX).await,
            PackedTable::Evidence => unreadable(self, EVIDENCE).await,
            PackedTable::RefundEvidence => unreadable(self, REFUND_EVIDENCE).await,
            PackedTable::Notifications => unreadable(self, NOTIFICATIONS).await,
            PackedTable::Orders => unreadable(self, ORDERS).await,
        }
    }

    /// What a row says, packed or not: an event's JSON; a fact and WeChat's own words; a notification's headers and
    /// body; what an order asked for. None where there is no such row.
    pub async fn stored_text(&self, table: PackedTable, id: &str) -> Result<Option<Vec<u8>>, DbError> {
        let found = match table {
            PackedTable::Outbox => text(self, OUTBOX, number(id)?).await?,
            PackedTable::Evidence => text(self, EVIDENCE, number(id)?).await?,
            PackedTable::RefundEvidence => text(self, REFUND_EVIDENCE, number(id)?).await?,
            PackedTable::Notifications => text(self, NOTIFICATIONS, id.into()).await?,
            PackedTable::Orders => text(self, ORDERS, number(id)?).await?,
        };
        found.transpose().map_err(|e| defect(table.as_str(), id, e))
    }
}

async fn unreadable<E: EntityTrait>(store: &Store, rows: Rows<E>) -> Result<Vec<UnreadableRow>, DbError> {
    let (mut found, mut last) = (Vec::new(), None::<Value>);
    loop {
        let mut select = E::find().filter(rows.packed.is_not_null());
        if let Some(last) = last.take() {
            select = select.filter(rows.key.gt::<Value>(last));
        }
        let page = select.order_by_asc(rows.key).limit(ROWS).all(store.db().read()).await?;
        for row in &page {
            if let Err(why) = (rows.text)(row) {
                found.push(UnreadableRow { id: shown(&(rows.id)(row)), why });
            }
        }
        let Some(row) = page.last() else { return Ok(found) };
        last = Some((rows.id)(row));
    }
}

async fn text<E: EntityTrait>(
    store: &Store,
    rows: Rows<E>,
    id: Value,
) -> Result<Option<Result<Vec<u8>, Unreadable>>, DbError> {
    let row = E::find().filter(rows.key.eq(id)).one(store.db().read()).await?;
    Ok(row.as_ref().map(rows.text))
}

fn joined((fact, raw): (String, Option<String>)) -> Vec<u8> {
    raw.map_or(fact.clone(), |raw| format!("{fact}\n{raw}")).into_bytes()
}

fn number(id: &str) -> Result<Value, DbError> {
    let id: i64 = id.parse().map_err(|_| DbError::Defect(format!("{id} is no row number")))?;
    Ok(id.into())
}

fn shown(id: &Value) -> String {
    match id {
        Value::BigInt(Some(id)) => id.to_string(),
        Value::String(Some(id)) => id.to_string(),
        _ => String::new(),
    }
}
