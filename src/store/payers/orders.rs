//! An order and its evidence without their payer.
//!
//! The order keeps what it is about and what it came to. Its payer has another name, its payer's device and place are
//! gone, and so is `metadata`, which may hold anything.

use std::collections::BTreeMap;

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Deserialize;

use super::hide::payers;
use super::scan::{Change, Page, Payer, ROWS, number};
use super::types::Needed;
use super::words::replaced;
use crate::event::command::OrderContent;
use crate::order::OrderState;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::{attempt, evidence, order};
use crate::store::order::rows::unreadable;
use crate::store::packed::rows::{read_evidence, read_order, rewritten_order};

/// Stands where the address of a payer's device stood.
const NO_ADDRESS: &str = "0.0.0.0";
/// Parameters of WeChat's unified order with the address and the place of a payer's device.
const ADDRESS: &str = "spbill_create_ip";
const SCENE: &str = "scene_info";

const WRITE_ORDER: &str = "UPDATE orders SET content = $1, packed = $2, intent_params = $3
    WHERE id = $4 AND state IN ('paid', 'closed', 'failed')";
const WRITE_ATTEMPT: &str = "UPDATE attempts SET params = $1
    WHERE id = $2 AND params = $3
      AND EXISTS (SELECT 1 FROM orders AS o
                  WHERE o.id = attempts.order_id AND o.state IN ('paid', 'closed', 'failed'))";

/// Members that say who pays.
#[derive(Deserialize)]
struct OfPayer {
    openid: Option<String>,
    sub_openid: Option<String>,
}

/// An order with its attempts, as they are stored.
struct Found {
    row: order::Model,
    content: String,
    attempts: Vec<attempt::Model>,
}

impl Found {
    /// By the members that say who pays. What else a text says is the business's own.
    fn is_of(&self, payer: &Payer<'_>) -> Result<bool, DbError> {
        let params = self.attempts.iter().map(|attempt| attempt.params.as_str());
        for text in params.chain([self.content.as_str()]).chain(self.row.intent_params.as_deref()) {
            let of: OfPayer = serde_json::from_str(text).map_err(|e| unreadable("params", &e))?;
            if [of.openid, of.sub_openid].iter().flatten().any(|openid| openid == payer.openid) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_open(&self) -> bool {
        OrderState::parse(&self.row.state).is_none_or(OrderState::is_open)
    }

    /// What takes the payer out of it, if anything has to.
    fn changes(&self, payer: &Payer<'_>) -> Result<Vec<Change>, DbError> {
        let mut changes = Vec::new();
        let content = content(&self.content, payer)?;
        let wanted = self.row.intent_params.as_deref().map(|text| params(text, payer)).transpose()?;
        if content != self.content || wanted != self.row.intent_params {
            let (plain, packed) = rewritten_order(&self.row, &content);
            changes.push(Change::to(WRITE_ORDER, [plain.into(), packed.into(), wanted.into(), self.row.id.into()]));
        }
        for attempt in &self.attempts {
            let without = params(&attempt.params, payer)?;
            if without != attempt.params {
                let values = [without.into(), attempt.id.into(), attempt.params.as_str().into()];
                changes.push(Change::to(WRITE_ATTEMPT, values));
            }
        }
        Ok(changes)
    }
}

/// What the business asked for, without the payer.
fn content(text: &str, payer: &Payer<'_>) -> Result<String, DbError> {
    let text = replaced(text, payer.openid, payer.name);
    let mut content: OrderContent = serde_json::from_str(&text).map_err(|e| unreadable("content", &e))?;
    if content.client_ip == NO_ADDRESS && content.scene_info.is_none() && content.metadata.is_none() {
        return Ok(text);
    }
    content.client_ip = NO_ADDRESS.to_owned();
    content.scene_info = None;
    content.metadata = None;
    serde_json::to_string(&content).map_err(|e| unreadable("content", &e))
}

/// Parameters of a call without the payer.
fn params(text: &str, payer: &Payer<'_>) -> Result<String, DbError> {
    let text = replaced(text, payer.openid, payer.name);
    let mut params: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|e| unreadable("params", &e))?;
    let has_scene = params.remove(SCENE).is_some();
    let has_address = params.get(ADDRESS).is_some_and(|address| address != NO_ADDRESS);
    if !has_scene && !has_address {
        return Ok(text);
    }
    if has_address {
        params.insert(ADDRESS.to_owned(), NO_ADDRESS.to_owned());
    }
    serde_json::to_string(&params).map_err(|e| unreadable("params", &e))
}

/// Orders whose own texts name the payer.
pub async fn orders(store: &Store, payer: &Payer<'_>, key: &str) -> Result<Page, DbError> {
    let rows = order::Entity::find()
        .filter(order::Column::Id.gt(number(key)))
        .filter(order::Column::CreatedAtMs.lte(payer.until))
        .order_by_asc(order::Column::Id)
        .limit(ROWS);
    let mut rows = rows.all(store.db().read()).await?;
    let mut page = Page::after(rows.len(), rows.last().map(|row| row.id.to_string()));
    rows.retain(|row| row.app == payer.app.as_str());
    for found in with_attempts(store, rows, &mut page).await? {
        match found.is_of(payer) {
            Ok(true) => take(&found, payer, &mut page),
            Ok(false) => {}
            Err(error) => page.cannot_read("orders", found.row.id, &error),
        }
    }
    Ok(page)
}

/// Orders whose evidence names the payer: who pays a code or in an app is known from WeChat alone.
pub async fn evidence(store: &Store, payer: &Payer<'_>, key: &str) -> Result<Page, DbError> {
    let rows = evidence::Entity::find()
        .filter(evidence::Column::Id.gt(number(key)))
        .order_by_asc(evidence::Column::Id)
        .limit(ROWS);
    let rows = rows.all(store.db().read()).await?;
    let mut page = Page::after(rows.len(), rows.last().map(|row| row.id.to_string()));
    // What is needed of the evidence of each order that may be the payer's.
    let mut orders = BTreeMap::<i64, Vec<Needed>>::new();
    for row in &rows {
        let (fact, raw) = match read_evidence(row) {
            Ok(texts) => texts,
            Err(error) => {
                tracing::warn!(id = row.id, %error, "An erasure passes over evidence that cannot be read");
                orders.entry(row.order_id).or_default().push(Needed::Unreadable);
                continue;
            }
        };
        let named = payers(&fact, raw.as_deref());
        if payer.is_among(&named) {
            orders.entry(row.order_id).or_default().push(Needed::Evidence);
        } else if payer.is_named_among(&named) {
            orders.entry(row.order_id).or_default();
        }
    }
    if orders.is_empty() {
        return Ok(page);
    }
    let rows = order::Entity::find()
        .filter(order::Column::Id.is_in(orders.keys().copied()))
        .filter(order::Column::App.eq(payer.app.as_str()))
        .filter(order::Column::CreatedAtMs.lte(payer.until))
        .all(store.db().read())
        .await?;
    for found in with_attempts(store, rows, &mut page).await? {
        let needed = orders.remove(&found.row.id).unwrap_or_default();
        let is_known = needed.is_empty() || needed.contains(&Needed::Evidence);
        page.found.extend(needed);
        if is_known {
            take(&found, payer, &mut page);
        }
    }
    Ok(page)
}

/// An order of the payer's.
fn take(found: &Found, payer: &Payer<'_>, page: &mut Page) {
    page.is_of_payer = true;
    if found.is_open() {
        page.found.push(Needed::Orders);
        return;
    }
    match found.changes(payer) {
        Ok(changes) => page.changes.extend(changes),
        Err(error) => page.cannot_read("orders", found.row.id, &error),
    }
}

async fn with_attempts(store: &Store, rows: Vec<order::Model>, page: &mut Page) -> Result<Vec<Found>, DbError> {
    let attempts = attempt::Entity::find().filter(attempt::Column::OrderId.is_in(rows.iter().map(|row| row.id)));
    let mut of_orders: BTreeMap<i64, Vec<attempt::Model>> = BTreeMap::new();
    for attempt in attempts.all(store.db().read()).await? {
        of_orders.entry(attempt.order_id).or_default().push(attempt);
    }
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        match read_order(&row) {
            Ok(content) => all.push(Found { attempts: of_orders.remove(&row.id).unwrap_or_default(), content, row }),
            Err(error) => page.cannot_read("orders", row.id, &error),
        }
    }
    Ok(all)
}
