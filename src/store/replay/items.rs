//! The items of a replay: written with the plan, read by those who work on them and those who watch.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::types::{Candidate, PlannedItem, Predicted, ReplayItem, ReplayMark, ReplayResult, ReplaySource};
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::{DbError, placeholders};
use crate::store::writer::WriteTx;

/// Items of one write: payments must not wait for a large plan.
const ITEMS_PER_WRITE: usize = 500;
const COLUMNS: &str = "n, source, source_id, merchant, out_trade_no, predicted, predicted_reason, result,
                       result_reason, error, done_at_ms";

/// How many items have which prediction, and which result.
#[derive(Debug, Clone, Default)]
pub struct ReplayCounts {
    pub would_settle: u64,
    pub no_op: u64,
    /// By reason.
    pub still_fails: BTreeMap<String, u64>,
    pub settled: u64,
    pub did_nothing: u64,
    /// By reason.
    pub failed: BTreeMap<String, u64>,
}

impl ReplayCounts {
    /// Items that have a result.
    pub fn done(&self) -> u64 {
        self.settled + self.did_nothing + self.failed.values().sum::<u64>()
    }
}

impl Store {
    /// Writes the items of a replay whose own row comes after them.
    pub async fn plan_items(&self, replay_id: &str, items: &[PlannedItem]) -> Result<(), DbError> {
        for (i, chunk) in items.chunks(ITEMS_PER_WRITE).enumerate() {
            let write = (replay_id.to_owned(), i * ITEMS_PER_WRITE, chunk.to_vec());
            self.db
                .write("replay.items", write, |tx, (id, before, items)| Box::pin(insert(tx, id, *before, items)))
                .await?;
        }
        Ok(())
    }

    /// How far a replay is.
    pub async fn replay_counts(&self, replay_id: &str) -> Result<ReplayCounts, DbError> {
        let sql = "SELECT predicted, predicted_reason, result, result_reason, COUNT(*) AS items FROM replay_items
                   WHERE replay_id = $1 GROUP BY predicted, predicted_reason, result, result_reason";
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [replay_id.into()])).await?;
        let mut counts = ReplayCounts::default();
        for row in rows {
            let n = u64::try_from(row.try_get::<i64>("", "items")?).unwrap_or(0);
            let reason = |column: &str| -> Result<String, DbError> {
                Ok(row.try_get::<Option<String>>("", column)?.unwrap_or_else(|| "unknown".to_owned()))
            };
            match word(&row, "predicted", Predicted::parse)? {
                Some(Predicted::WouldSettle) => counts.would_settle += n,
                Some(Predicted::NoOp) => counts.no_op += n,
                Some(Predicted::StillFails) => {
                    *counts.still_fails.entry(reason("predicted_reason")?).or_default() += n;
                }
                None => {}
            }
            match word(&row, "result", ReplayResult::parse)? {
                Some(ReplayResult::Settled) => counts.settled += n,
                Some(ReplayResult::NoOp) => counts.did_nothing += n,
                Some(ReplayResult::Failed) => *counts.failed.entry(reason("result_reason")?).or_default() += n,
                None => {}
            }
        }
        Ok(counts)
    }

    /// Items behind the place `after`, of this result where one is named.
    pub async fn replay_items(
        &self,
        replay_id: &str,
        after: i64,
        result: Option<ReplayResult>,
        limit: u64,
    ) -> Result<Vec<ReplayItem>, DbError> {
        let of_result = result.map_or("", |_| " AND result = $3");
        let sql = format!(
            "SELECT {COLUMNS} FROM replay_items WHERE replay_id = $1 AND n > $2{of_result} ORDER BY n LIMIT {limit}"
        );
        let mut values: Vec<Value> = vec![replay_id.into(), after.into()];
        values.extend(result.map(|result| result.as_str().into()));
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        rows.iter().map(item).collect()
    }

    /// The next items without a result, without deliveries to these endpoints.
    pub async fn open_replay_items(
        &self,
        replay_id: &str,
        except: &[String],
        limit: u64,
    ) -> Result<Vec<ReplayItem>, DbError> {
        let mut values: Vec<Value> = vec![replay_id.into()];
        let mut only = String::new();
        if !except.is_empty() {
            // Ids of other sources are no numbers.
            only = format!(
                " AND NOT EXISTS (
                    SELECT 1 FROM webhook_deliveries AS d WHERE d.endpoint_id IN {}
                      AND d.id = CASE WHEN replay_items.source = 'webhook'
                                      THEN CAST(replay_items.source_id AS BIGINT) END)",
                placeholders(1, except.len(), 1)
            );
            values.extend(except.iter().map(|id| id.as_str().into()));
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM replay_items WHERE replay_id = $1 AND result IS NULL{only} ORDER BY n LIMIT {limit}"
        );
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        rows.iter().map(item).collect()
    }

    /// Whether an item has no result yet.
    pub async fn is_replay_item_open(&self, mark: &ReplayMark) -> Result<bool, DbError> {
        let sql = "SELECT 1 AS one FROM replay_items WHERE replay_id = $1 AND n = $2 AND result IS NULL";
        let values = [mark.replay_id.as_str().into(), mark.n.into()];
        Ok(self.db.read().query_one_raw(self.db.statement(sql, values)).await?.is_some())
    }
}

async fn insert(tx: &WriteTx, replay_id: &str, before: usize, items: &[PlannedItem]) -> Result<(), DbError> {
    let mut values: Vec<Value> = Vec::with_capacity(items.len() * 8);
    for (i, item) in items.iter().enumerate() {
        let Candidate { source, source_id, merchant, .. } = &item.candidate;
        values.extend([
            replay_id.into(),
            i64::try_from(before + i + 1).unwrap_or(i64::MAX).into(),
            source.as_str().into(),
            source_id.as_str().into(),
            merchant.as_str().into(),
            item.out_trade_no.clone().into(),
            item.predicted.as_str().into(),
            item.reason.clone().into(),
        ]);
    }
    let sql = format!(
        "INSERT INTO replay_items (replay_id, n, source, source_id, merchant, out_trade_no, predicted,
                                   predicted_reason) VALUES {}",
        placeholders(items.len(), 8, 0)
    );
    tx.execute(&sql, values).await?;
    Ok(())
}

fn item(row: &QueryResult) -> Result<ReplayItem, DbError> {
    let required = |column: &str| DbError::Defect(format!("{column} of a replay's item is not known"));
    Ok(ReplayItem {
        n: row.try_get("", "n")?,
        source: word(row, "source", ReplaySource::parse)?.ok_or_else(|| required("source"))?,
        source_id: row.try_get("", "source_id")?,
        merchant: row.try_get("", "merchant")?,
        out_trade_no: row.try_get("", "out_trade_no")?,
        predicted: word(row, "predicted", Predicted::parse)?.ok_or_else(|| required("predicted"))?,
        predicted_reason: row.try_get("", "predicted_reason")?,
        result: word(row, "result", ReplayResult::parse)?,
        result_reason: row.try_get("", "result_reason")?,
        error: row.try_get("", "error")?,
        done_at: row.try_get::<Option<i64>>("", "done_at_ms")?.map(Timestamp::from_ms),
    })
}

/// A word of a column that may be empty.
pub(super) fn word<T>(row: &QueryResult, column: &str, parse: fn(&str) -> Option<T>) -> Result<Option<T>, DbError> {
    let Some(text) = row.try_get::<Option<String>>("", column)? else { return Ok(None) };
    parse(&text).map(Some).ok_or_else(|| DbError::Defect(format!("column {column} holds an unknown word")))
}
