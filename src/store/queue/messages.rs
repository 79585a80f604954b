//! Storing messages within their stream's limits, and removing those that are done with.

use std::collections::HashMap;

use sea_orm::Value;

use super::deliveries::lock_deliveries;
use super::space::{grow, usage};
use super::sql::{chunks, places, tuples};
use super::{BusRows, NewRow, Stored, StreamLimit};
use crate::store::{DbError, DbKind, WriteTx};

impl BusRows {
    /// Makes the counters of these streams.
    pub async fn register(&self, streams: &[String]) -> Result<(), DbError> {
        for stream in streams {
            let sql = "INSERT INTO bus_streams (stream, messages, size_bytes) VALUES ($1, 0, 0) ON CONFLICT DO NOTHING";
            self.db.execute("bus.register", sql, [stream.as_str().into()]).await?;
        }
        Ok(())
    }

    /// Stores a batch in its order, in one transaction. A message under a key that is there already is not stored
    /// again.
    pub async fn insert(
        &self,
        batch: &[NewRow],
        limits: &HashMap<String, StreamLimit>,
    ) -> Result<Vec<Stored>, DbError> {
        let write = (batch.to_vec(), limits.clone());
        self.db.write("bus.publish", write, |tx, (batch, limits)| Box::pin(insert(tx, batch, limits))).await
    }

    /// Deletes messages of a stream that no consumer still has to process and that are older than the duplicate window;
    /// at most a thousand at a time. Returns how many. Rows that another process is pruning are skipped, never waited
    /// for.
    pub async fn prune(&self, stream: &str, window_ms: i64) -> Result<usize, DbError> {
        let write = (stream.to_owned(), window_ms);
        self.db.write("bus.prune", write, |tx, (stream, window_ms)| Box::pin(prune(tx, stream, *window_ms))).await
    }
}

async fn insert(tx: &WriteTx, batch: &[NewRow], limits: &HashMap<String, StreamLimit>) -> Result<Vec<Stored>, DbError> {
    let mut usage = usage(tx).await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut fitting = Vec::with_capacity(batch.len());
    for row in batch {
        let fits = match (usage.get_mut(&row.stream), limits.get(&row.stream)) {
            (Some((messages, bytes)), Some(limit)) => {
                let fits = if limit.drops_oldest {
                    row.size_bytes <= limit.max_bytes
                } else {
                    *messages < limit.max_messages && *bytes + row.size_bytes <= limit.max_bytes
                };
                if fits {
                    *messages += 1;
                    *bytes += row.size_bytes;
                }
                fits
            }
            (Some(_), None) => true,
            (None, _) => return Err(DbError::Defect(format!("stream {} is not registered", row.stream))),
        };
        outcomes.push(if fits { Stored::Yes } else { Stored::Full });
        if fits {
            fitting.push(row);
        }
    }
    insert_fitting(tx, &fitting).await?;
    let mut grown: Vec<&str> = fitting.iter().map(|row| row.stream.as_str()).collect();
    grown.sort_unstable();
    grown.dedup();
    for stream in grown {
        if let Some(limit) = limits.get(stream).filter(|limit| limit.drops_oldest) {
            drop_oldest(tx, stream, *limit).await?;
        }
    }
    Ok(outcomes)
}

async fn insert_fitting(tx: &WriteTx, rows: &[&NewRow]) -> Result<(), DbError> {
    let mut grown: HashMap<&str, (i64, i64)> = HashMap::new();
    let mut deliveries: Vec<(i64, &str)> = Vec::with_capacity(rows.len());
    for chunk in chunks(tx, rows) {
        let by_key: HashMap<(&str, &str), &NewRow> =
            chunk.iter().rev().map(|row| ((row.stream.as_str(), row.dedupe_key.as_str()), *row)).collect();
        let sql = format!(
            "INSERT INTO bus_messages (stream, subject, dedupe_key, payload, headers, size_bytes, published_at_ms)
                 VALUES {} ON CONFLICT (stream, dedupe_key) DO NOTHING RETURNING seq, stream, dedupe_key",
            tuples(chunk.len(), 6, tx.now_ms_sql())
        );
        let values = chunk.iter().flat_map(|row| -> [Value; 6] {
            [
                row.stream.as_str().into(),
                row.subject.as_str().into(),
                row.dedupe_key.as_str().into(),
                row.payload.clone().into(),
                row.headers.as_str().into(),
                row.size_bytes.into(),
            ]
        });
        for stored in tx.all(&sql, values).await? {
            let (stream, key): (String, String) = (stored.get("stream")?, stored.get("dedupe_key")?);
            let Some(row) = by_key.get(&(stream.as_str(), key.as_str())) else {
                return Err(DbError::Defect("a stored message has another key".into()));
            };
            let seq: i64 = stored.get("seq")?;
            deliveries.extend(row.consumers.iter().map(|consumer| (seq, consumer.as_str())));
            let (messages, bytes) = grown.entry(row.stream.as_str()).or_default();
            *messages += 1;
            *bytes += row.size_bytes;
        }
    }
    for chunk in chunks(tx, &deliveries) {
        let sql = format!(
            "INSERT INTO bus_deliveries (seq, consumer, due_at_ms, deliveries, leased) VALUES {}",
            tuples(chunk.len(), 2, &format!("{}, 0, FALSE", tx.now_ms_sql()))
        );
        let values = chunk.iter().flat_map(|(seq, consumer)| -> [Value; 2] { [(*seq).into(), (*consumer).into()] });
        tx.execute(&sql, values).await?;
    }
    // Last, because on PostgreSQL this row is where concurrent publishers meet.
    grow(tx, grown.into_iter()).await
}

/// Deletes a stream's oldest messages, acknowledged or not, until it is within its limit.
///
/// The caller has just changed the stream's counter and holds its row, so two never do this at once. Messages that are
/// being pruned are passed over: the process that prunes them waits for that same row.
async fn drop_oldest(tx: &WriteTx, stream: &str, limit: StreamLimit) -> Result<(), DbError> {
    loop {
        let usage = usage(tx).await?;
        let (messages, bytes) = usage.get(stream).copied().unwrap_or_default();
        if messages <= limit.max_messages && bytes <= limit.max_bytes {
            return Ok(());
        }
        let sql = format!(
            "SELECT seq, size_bytes FROM bus_messages WHERE stream = $1 ORDER BY seq LIMIT 256{}",
            passing_over_locked(tx)
        );
        let (mut left, mut seqs) = ((messages, bytes), Vec::new());
        for row in tx.all(&sql, vec![stream.into()]).await? {
            if left.0 <= limit.max_messages && left.1 <= limit.max_bytes {
                break;
            }
            left = (left.0 - 1, left.1 - row.get::<i64>("size_bytes")?);
            seqs.push(row.get::<i64>("seq")?);
        }
        if seqs.is_empty() {
            return Ok(());
        }
        lock_deliveries(tx, &seqs).await?;
        for chunk in chunks(tx, &seqs) {
            let values: Vec<Value> = chunk.iter().map(|seq| Value::from(*seq)).collect();
            for table in ["bus_deliveries", "bus_messages"] {
                let sql = format!("DELETE FROM {table} WHERE seq IN ({})", places(chunk.len(), 1));
                tx.execute(&sql, values.clone()).await?;
            }
        }
        grow(tx, std::iter::once((stream, (left.0 - messages, left.1 - bytes)))).await?;
    }
}

/// The end of a query that takes only rows no other transaction holds; SQLite has one writer and needs no such thing.
fn passing_over_locked(tx: &WriteTx) -> &'static str {
    match tx.kind() {
        DbKind::Sqlite => "",
        DbKind::Postgres => " FOR UPDATE SKIP LOCKED",
    }
}

async fn prune(tx: &WriteTx, stream: &str, window_ms: i64) -> Result<usize, DbError> {
    let done_with = format!(
        "SELECT m.seq FROM bus_messages m WHERE m.stream = $1 AND m.published_at_ms < {} - $2
               AND NOT EXISTS (SELECT 1 FROM bus_deliveries d WHERE d.seq = m.seq)
             ORDER BY m.seq LIMIT 1000{}",
        tx.now_ms_sql(),
        passing_over_locked(tx)
    );
    let picked = match tx.kind() {
        DbKind::Sqlite => format!("seq IN ({done_with})"),
        // As an array it is evaluated once, whatever plan the deletion gets.
        DbKind::Postgres => format!("seq = ANY (ARRAY({done_with}))"),
    };
    let sql = format!("DELETE FROM bus_messages WHERE {picked} RETURNING size_bytes");
    let gone = tx.all(&sql, vec![stream.into(), window_ms.into()]).await?;
    let mut bytes: i64 = 0;
    for row in &gone {
        bytes += row.get::<i64>("size_bytes")?;
    }
    let messages = i64::try_from(gone.len()).unwrap_or(i64::MAX);
    grow(tx, std::iter::once((stream, (-messages, -bytes)))).await?;
    Ok(gone.len())
}
