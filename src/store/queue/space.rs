//! How much the streams hold.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, QueryResult};

use super::{BusRows, UsageRow};
use crate::store::{DbError, WriteTx};

impl BusRows {
    /// How much each stream holds.
    pub async fn usage(&self) -> Result<Vec<UsageRow>, DbError> {
        let sql = "SELECT stream, messages, size_bytes FROM bus_streams ORDER BY stream";
        let rows = self.db.read().query_all_raw(self.sql(sql.to_owned(), vec![])).await?;
        let usage = |row: QueryResult| {
            Ok(UsageRow {
                stream: row.try_get("", "stream")?,
                messages: row.try_get("", "messages")?,
                size_bytes: row.try_get("", "size_bytes")?,
            })
        };
        rows.into_iter().map(usage).collect()
    }
}

/// Messages and bytes, by stream.
pub(super) async fn usage(tx: &WriteTx) -> Result<HashMap<String, (i64, i64)>, DbError> {
    let rows = tx.all("SELECT stream, messages, size_bytes FROM bus_streams", vec![]).await?;
    let usage = rows.iter().map(|row| Ok((row.get("stream")?, (row.get("messages")?, row.get("size_bytes")?))));
    usage.collect()
}

/// Empties the messages of these numbers that no consumer has still to work on; each comes with what it counts against
/// its stream's limit. They count nothing from then on.
///
/// A message of size zero was emptied before. Only a claim reads a body, and it leases a delivery of it first: an empty
/// one is never read, not by processes of an earlier version either.
pub(super) async fn empty(tx: &WriteTx, done: &[(i64, i64)]) -> Result<(), DbError> {
    let sizes: HashMap<i64, i64> = done.iter().copied().collect();
    let mut freed: HashMap<String, i64> = HashMap::new();
    if !done.is_empty() {
        let sql = format!(
            "UPDATE bus_messages SET payload = $1, headers = '{{}}', size_bytes = 0
               WHERE {} AND size_bytes > 0
                 AND NOT EXISTS (SELECT 1 FROM bus_deliveries d WHERE d.seq = bus_messages.seq) RETURNING seq, stream",
            tx.kind().among_numbers("seq", 2)
        );
        let numbers = tx.kind().numbers(done.iter().map(|(seq, _)| *seq));
        for row in tx.all(&sql, [Vec::<u8>::new().into(), numbers]).await? {
            let size = sizes.get(&row.get::<i64>("seq")?).copied().unwrap_or_default();
            *freed.entry(row.get("stream")?).or_default() += size;
        }
    }
    // Last, as where messages are stored: on PostgreSQL other transactions wait for this row.
    grow(tx, freed.iter().map(|(stream, bytes)| (stream.as_str(), (0, -bytes)))).await
}

pub(super) async fn grow<'a>(tx: &WriteTx, by: impl Iterator<Item = (&'a str, (i64, i64))>) -> Result<(), DbError> {
    let mut by: Vec<_> = by.collect();
    by.sort_unstable();
    for (stream, (messages, bytes)) in by {
        let sql = "UPDATE bus_streams SET messages = messages + $1, size_bytes = size_bytes + $2 WHERE stream = $3";
        tx.execute(sql, vec![messages.into(), bytes.into(), stream.into()]).await?;
    }
    Ok(())
}
