//! Storing messages within their stream's limits, and removing those that are done with.

use std::collections::HashMap;
use std::sync::Arc;

use sea_orm::Value;

use super::deliveries::lock_deliveries;
use super::space::{grow, usage};
use super::{BusRows, Inserted, NewMessage, NewRow, Stored, StreamLimit};
use crate::store::writer::{Holds, Outcome, Rowwise};
use crate::store::{DbError, DbKind, Row, WriteTx};

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
        batch: Arc<Vec<NewRow>>,
        limits: Arc<HashMap<String, StreamLimit>>,
    ) -> Result<Inserted, DbError> {
        self.db.write("bus.publish", (batch, limits), |tx, (batch, limits)| Box::pin(insert(tx, batch, limits))).await
    }

    /// Deletes messages of a stream that no consumer still has to process and that are older than the duplicate window;
    /// at most a thousand at a time. Returns how many. Rows that another process is pruning are skipped, never waited
    /// for.
    pub async fn prune(&self, stream: &str, window_ms: i64) -> Result<usize, DbError> {
        let write = (stream.to_owned(), window_ms);
        self.db.write("bus.prune", write, |tx, (stream, window_ms)| Box::pin(prune(tx, stream, *window_ms))).await
    }
}

/// Stores messages that were accepted elsewhere, whatever the stream holds: they are not new work.
pub(in crate::store) async fn keep_moved(tx: &WriteTx, rows: &[NewRow]) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<(usize, &NewRow)> = rows.iter().enumerate().collect();
    insert_fitting(tx, &rows).await.map(drop)
}

async fn insert(tx: &WriteTx, batch: &[NewRow], limits: &HashMap<String, StreamLimit>) -> Result<Inserted, DbError> {
    let mut usage = usage(tx).await?;
    let mut outcomes = Vec::with_capacity(batch.len());
    let mut fitting = Vec::with_capacity(batch.len());
    for (place, row) in batch.iter().enumerate() {
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
            fitting.push((place, row));
        }
    }
    let new = insert_fitting(tx, &fitting).await?;
    let mut grown: Vec<&str> = fitting.iter().map(|(_, row)| row.stream.as_str()).collect();
    grown.sort_unstable();
    grown.dedup();
    for stream in grown {
        if let Some(limit) = limits.get(stream).filter(|limit| limit.drops_oldest) {
            drop_oldest(tx, stream, *limit).await?;
        }
    }
    Ok(Inserted { outcomes, new })
}

static INSERT_MESSAGES: Rowwise = Rowwise::new(
    &[
        ("stream", Holds::Text),
        ("subject", Holds::Text),
        ("dedupe_key", Holds::Text),
        ("payload", Holds::Bytes),
        ("headers", Holds::Text),
        ("size_bytes", Holds::Integer),
        ("published_at_ms", Holds::Integer),
    ],
    "INSERT INTO bus_messages (stream, subject, dedupe_key, payload, headers, size_bytes, published_at_ms)
     SELECT v.stream, v.subject, v.dedupe_key, v.payload, v.headers, v.size_bytes,
            COALESCE(v.published_at_ms, {now}) {from} WHERE TRUE
     ON CONFLICT (stream, dedupe_key) DO NOTHING",
)
.returning("seq, stream, dedupe_key, published_at_ms");

static INSERT_DELIVERIES: Rowwise = Rowwise::new(
    &[
        ("seq", Holds::Integer),
        ("consumer", Holds::Text),
        ("lease_ms", Holds::Integer),
        ("deliveries", Holds::Integer),
        ("leased", Holds::Truth),
    ],
    "INSERT INTO bus_deliveries (seq, consumer, due_at_ms, deliveries, leased)
     SELECT v.seq, v.consumer, {now} + v.lease_ms, v.deliveries, v.leased {from} WHERE TRUE",
);

async fn insert_fitting(tx: &WriteTx, rows: &[(usize, &NewRow)]) -> Result<Vec<NewMessage>, DbError> {
    let mut grown: HashMap<&str, (i64, i64)> = HashMap::new();
    let mut deliveries: Vec<Vec<Value>> = Vec::with_capacity(rows.len());
    let mut new = Vec::with_capacity(rows.len());
    for (row, stored) in insert_messages(tx, rows).await? {
        deliveries.extend(row.consumers.iter().map(|taker| {
            let (lease_ms, leased) = (taker.lease_ms.unwrap_or(0), taker.lease_ms.is_some());
            let consumer = taker.consumer.as_str().into();
            vec![stored.seq.into(), consumer, lease_ms.into(), i64::from(leased).into(), leased.into()]
        }));
        let (messages, bytes) = grown.entry(row.stream.as_str()).or_default();
        *messages += 1;
        *bytes += row.size_bytes;
        new.push(stored);
    }
    tx.over(&INSERT_DELIVERIES, &deliveries).await?;
    // Last, because on PostgreSQL this row is where concurrent publishers meet.
    grow(tx, grown.into_iter()).await?;
    Ok(new)
}

/// Stores those that are not there under their key.
async fn insert_messages<'r>(
    tx: &WriteTx,
    rows: &[(usize, &'r NewRow)],
) -> Result<Vec<(&'r NewRow, NewMessage)>, DbError> {
    // On PostgreSQL the insertion tells it.
    let published_at_ms: Option<i64> = match tx.kind() {
        DbKind::Sqlite => {
            let now = tx.one(&format!("SELECT {} AS now", tx.now_ms_sql()), []).await?;
            now.map(|row| row.get("now")).transpose()?
        }
        DbKind::Postgres => None,
    };
    let values = |(_, row): &(usize, &NewRow)| -> Vec<Value> {
        vec![
            row.stream.as_str().into(),
            row.subject.as_str().into(),
            row.dedupe_key.as_str().into(),
            row.payload.clone().into(),
            row.headers.as_str().into(),
            row.size_bytes.into(),
            published_at_ms.into(),
        ]
    };
    match tx.over(&INSERT_MESSAGES, &rows.iter().map(values).collect::<Vec<_>>()).await? {
        Outcome::Each(stored) => {
            let published_at_ms = published_at_ms.unwrap_or_default();
            let new = |(place, row, seq)| (row, NewMessage { place, seq, published_at_ms });
            Ok(rows.iter().zip(stored).filter_map(|((place, row), seq)| Some(new((*place, *row, seq?)))).collect())
        }
        Outcome::Returned(stored) => {
            // The first of those that share a key.
            let by_key: HashMap<(&str, &str), (usize, &'r NewRow)> = rows
                .iter()
                .rev()
                .map(|(i, row)| ((row.stream.as_str(), row.dedupe_key.as_str()), (*i, *row)))
                .collect();
            let new = |stored: &Row| {
                let (stream, key): (String, String) = (stored.get("stream")?, stored.get("dedupe_key")?);
                let other = || DbError::Defect("a stored message has another key".into());
                let (place, row) = *by_key.get(&(stream.as_str(), key.as_str())).ok_or_else(other)?;
                let published_at_ms = stored.get("published_at_ms")?;
                Ok((row, NewMessage { place, seq: stored.get("seq")?, published_at_ms }))
            };
            stored.iter().map(new).collect()
        }
    }
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
        lock_deliveries(tx, &seqs);
        for table in ["bus_deliveries", "bus_messages"] {
            let sql = format!("DELETE FROM {table} WHERE {}", tx.kind().among_numbers("seq", 1));
            tx.execute(&sql, [tx.kind().numbers(seqs.iter().copied())]).await?;
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
