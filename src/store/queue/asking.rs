//! Has WeChat asked at once about everything that is open, where notifications of it are lost.
//!
//! There may be hundreds of thousands of open orders: they are gone through in their order, in steps that are writes of
//! their own. What must stay true: a run that ended early has lost nothing, because the next one passes over what is
//! due already; only what another transaction changes at this moment is waited for, and what stays locked keeps nothing
//! else from being asked about.

use sea_orm::Value;

use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};

/// Rows of one step: of a million at once, the update would take longer than a statement may.
const STEP: usize = 2000;

/// The states of orders that are open.
const OPEN: [&str; 2] = ["requested", "payable"];

/// Which open orders are not asked about at `$1`. One that is being placed is asked about afterwards.
const IS_LATER: &str = "(next_query_at_ms IS NULL OR next_query_at_ms > $1)
    AND (placing_until_ms IS NULL OR placing_until_ms <= $1 OR placing_version <> version)";

/// The orders of a step, which has an index for this order.
const OF_STEP: &str = "merchant = $2 AND state = $3
    AND (created_at_ms, id) > ($4, $5) AND (created_at_ms, id) <= ($6, $7)";

/// An order's place among those of its merchant and state.
#[derive(Debug, Clone, Copy)]
struct Place {
    created_at_ms: i64,
    id: i64,
}

impl Place {
    const BEGINNING: Place = Place { created_at_ms: i64::MIN, id: i64::MIN };
}

impl Store {
    /// Has WeChat asked at once about every order and refund that is open. An error of a lock comes last: the others
    /// are asked about by then.
    pub async fn ask_about_all_open(&self, now: Timestamp) -> Result<(), DbError> {
        let mut locked = None;
        for merchant in self.merchants_with_orders().await? {
            for state in OPEN {
                let mut after = Place::BEGINNING;
                while let Some(last) = self.ask_about_orders(now, (&merchant, state), after, &mut locked).await? {
                    after = last;
                }
            }
        }
        self.ask_about_refunds(now).await?;
        locked.map_or(Ok(()), Err)
    }

    /// One step through a merchant's orders of a state; returns its last one, none at the end. Once a wait for locked
    /// orders was in vain, which `locked` says, no other step waits.
    async fn ask_about_orders(
        &self,
        now: Timestamp,
        (merchant, state): (&str, &str),
        after: Place,
        locked: &mut Option<DbError>,
    ) -> Result<Option<Place>, DbError> {
        let mut values: Vec<Value> =
            vec![now.as_ms().into(), merchant.into(), state.into(), after.created_at_ms.into(), after.id.into()];
        let rows = self.db.reader().rows(&step_sql(), values.clone()).await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let last = Place { created_at_ms: last.get("created_at_ms")?, id: last.get("id")? };
        let mut later = 0;
        for row in &rows {
            later += u64::from(row.get::<i64>("is_later")? == 1);
        }
        if later > 0 {
            values.extend([last.created_at_ms.into(), last.id.into()]);
            let asked = self.db.execute("intake.lost_orders", orders_sql(self.db.kind()), values.clone()).await?;
            if asked < later && locked.is_none() {
                let sql = format!("UPDATE orders SET next_query_at_ms = $1 WHERE {OF_STEP} AND {IS_LATER}");
                match self.db.execute("intake.lost_orders", sql, values).await {
                    Ok(_) => {}
                    Err(e) if e.is_of_one_statement() => *locked = Some(e),
                    Err(e) => return Err(e),
                }
            }
        }
        Ok((rows.len() == STEP).then_some(last))
    }

    /// All merchants of orders, each by one step in an index.
    async fn merchants_with_orders(&self) -> Result<Vec<String>, DbError> {
        let sql = "WITH RECURSIVE found (merchant) AS (
                     SELECT MIN(merchant) FROM orders
                     UNION ALL
                     SELECT (SELECT MIN(merchant) FROM orders WHERE merchant > found.merchant)
                     FROM found WHERE found.merchant IS NOT NULL)
                   SELECT merchant FROM found WHERE merchant IS NOT NULL";
        self.db.reader().rows(sql, []).await?.iter().map(|row| row.get("merchant")).collect()
    }

    /// A refund that is due leaves those that are later.
    async fn ask_about_refunds(&self, now: Timestamp) -> Result<(), DbError> {
        for skip_locked in [self.db.kind().skip_locked(), ""] {
            let sql = refunds_sql(skip_locked);
            while self.db.execute("intake.lost_refunds", sql.clone(), [now.as_ms().into()]).await? >= STEP as u64 {}
        }
        Ok(())
    }
}

fn step_sql() -> String {
    format!(
        "SELECT created_at_ms, id, CAST(CASE WHEN {IS_LATER} THEN 1 ELSE 0 END AS BIGINT) AS is_later FROM orders
         WHERE merchant = $2 AND state = $3 AND (created_at_ms, id) > ($4, $5)
         ORDER BY created_at_ms, id LIMIT {STEP}"
    )
}

/// Passes over orders that another transaction has locked, so that it waits with no locks of its own.
fn orders_sql(kind: DbKind) -> String {
    format!(
        "UPDATE orders SET next_query_at_ms = $1
         WHERE id IN (SELECT id FROM orders WHERE {OF_STEP} AND {IS_LATER}{})",
        kind.skip_locked()
    )
}

fn refunds_sql(skip_locked: &str) -> String {
    format!(
        "WITH later AS MATERIALIZED (
           SELECT id FROM refunds WHERE next_at_ms > $1 ORDER BY next_at_ms LIMIT {STEP}{skip_locked})
         UPDATE refunds SET next_at_ms = $1 WHERE id IN (SELECT id FROM later) AND next_at_ms > $1"
    )
}
