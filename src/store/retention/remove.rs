//! One step of a removal.

use sea_orm::Value;

use super::tables::{Kept, Key};
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::writer::Row;

/// Rows that one step reads; it removes no more but for rows of the same millisecond. Other writes come between two.
const ROWS: u64 = 500;

/// Where the next step begins.
#[derive(Debug, Clone)]
pub struct Mark(Value);

/// What a step did.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Rows that are gone.
    pub removed: u64,
    /// None at the end.
    pub next: Option<Mark>,
}

impl Store {
    /// One step of removing what is older than `before`; `from` is where the step before ended.
    pub async fn remove_expired(&self, kept: Kept, from: Option<Mark>, before: Timestamp) -> Result<Removal, DbError> {
        let table = kept.table();
        let from = from.map_or_else(|| table.key.least(), |mark| mark.0);
        let rows = self.db.reader().rows(&table.page_sql(ROWS), [from.clone()]).await?;
        let Some(last) = rows.last() else { return Ok(Removal { removed: 0, next: None }) };
        let to = match table.key {
            Key::Number(_) => Value::from(last.get::<i64>("place")?),
            Key::Text(_) => Value::from(last.get::<String>("place")?),
        };
        let (is_any_old, is_behind) = old(&rows, before)?;
        let read = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        // Of a feed that is removed from its beginning, the age that is read alone says nothing.
        if !is_any_old && !table.is_prefix {
            let goes_on = read == ROWS && !table.is_by_age && !is_behind;
            return Ok(Removal { removed: 0, next: goes_on.then_some(Mark(to)) });
        }
        if kept == Kept::Audit && !self.may_remove_audit().await? {
            return Ok(Removal { removed: 0, next: None });
        }
        let values = [from, to.clone(), before.as_ms().into()];
        let removed = self.db.execute("retention.remove", table.delete_sql(), values).await?;
        // Of a feed that is removed from its beginning, whatever stays ends the work.
        let goes_on = read == ROWS && (removed == read || !table.is_prefix);
        Ok(Removal { removed, next: goes_on.then_some(Mark(to)) })
    }

    /// Not where PostgreSQL gives the service a role of its own: the audit then stays until its owner removes it.
    async fn may_remove_audit(&self) -> Result<bool, DbError> {
        if self.db.kind() == DbKind::Sqlite {
            return Ok(true);
        }
        let sql = "SELECT CAST(CAST(has_table_privilege('audit', 'DELETE') AS INT) AS BIGINT) AS may";
        let rows = self.db.reader().rows(sql, []).await?;
        Ok(rows.first().map(|row| row.get::<i64>("may")).transpose()? == Some(1))
    }

    /// Dates dead letters that were replayed or discarded since the last call: their period begins now.
    pub async fn date_dead_letters(&self, now: Timestamp) -> Result<u64, DbError> {
        let sql = "UPDATE dead_letters SET ended_at_ms = $1 WHERE state <> 'parked' AND ended_at_ms IS NULL";
        self.db.execute("dead_letter.date", sql, [now.as_ms().into()]).await
    }
}

/// Whether any of these rows is old, and whether all of them were made since: then none behind them is old either.
fn old(rows: &[Row], before: Timestamp) -> Result<(bool, bool), DbError> {
    let (mut is_any_old, mut is_behind) = (false, true);
    for row in rows {
        is_any_old |= row.get::<Option<i64>>("age_ms")?.is_some_and(|age_ms| age_ms < before.as_ms());
        is_behind &= row.get::<Option<i64>>("made_ms")?.is_some_and(|made_ms| made_ms >= before.as_ms());
    }
    Ok((is_any_old, is_behind))
}
