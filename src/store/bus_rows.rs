//! The rows of the embedded bus. SQL only: what a message or a verdict is, `bus::embedded` knows.
//!
//! A message is one row, plus one row per consumer that has still to work on it; an acknowledgement deletes the latter.
//! Everything works on batches, in few statements with a few fixed shapes, so that the database prepares each once and no
//! row costs a round trip. What must stay true: leases use the database's clock; a message and its deliveries appear in one transaction.

use std::collections::HashMap;

use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Statement, Value};

use super::{Db, DbError, DbKind};

/// Rows per INSERT, and numbers per list: full chunks first, then powers of two, so that there are few different statements.
const CHUNK: usize = 256;

/// A queue's table is never like its statistics: PostgreSQL would fetch and sort the whole backlog for every claim instead of
/// reading its beginning from the index. For the same reason, statements that name their rows by number write `consumer || ''`,
/// which keeps the planner from the index that starts with the consumer.
const IN_INDEX_ORDER: &str =
    "SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off";

/// A message to store.
#[derive(Debug, Clone)]
pub struct NewRow {
    /// Its stream.
    pub stream: String,
    /// Its subject.
    pub subject: String,
    /// Unique within the stream while the message is kept.
    pub dedupe_key: String,
    /// Its content.
    pub payload: Vec<u8>,
    /// Its headers, as JSON.
    pub headers: String,
    /// What it counts against the stream's limit.
    pub size_bytes: i64,
    /// Who has to work on it.
    pub consumers: Vec<String>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is stored, now or earlier under the same key.
    Yes,
    /// The stream is full.
    Full,
}

/// A claimed delivery.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The message's number.
    pub seq: i64,
    /// Deliveries to this consumer, this one included.
    pub deliveries: i64,
    /// The first error noted by [`Answer::Wait`].
    pub first_error: Option<String>,
    /// Its subject.
    pub subject: String,
    /// Its key.
    pub dedupe_key: String,
    /// Its content.
    pub payload: Vec<u8>,
    /// Its headers, as JSON.
    pub headers: String,
    /// When it was stored, by the database's clock.
    pub published_at_ms: i64,
}

/// An answer to a claimed delivery. `deliveries` is the claim's: an answer to a lease that has passed to another process changes
/// nothing, except that finished is finished.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Finished.
    Done {
        /// The message.
        seq: i64,
        /// Whose delivery.
        consumer: String,
    },
    /// Deliver again after a while.
    Wait {
        /// The message.
        seq: i64,
        /// Whose delivery.
        consumer: String,
        /// The claim.
        deliveries: i64,
        /// How long.
        after_ms: i64,
        /// Kept if none is kept yet.
        first_error: String,
    },
    /// Deliver again now, and do not count this delivery.
    Release {
        /// The message.
        seq: i64,
        /// Whose delivery.
        consumer: String,
        /// The claim.
        deliveries: i64,
    },
    /// Lengthen the lease.
    Extend {
        /// The message.
        seq: i64,
        /// Whose delivery.
        consumer: String,
        /// The claim.
        deliveries: i64,
        /// From now.
        lease_ms: i64,
    },
}

/// How far behind a consumer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LagRow {
    /// Not leased to anybody.
    pub pending: i64,
    /// Leased.
    pub in_flight: i64,
    /// Age of the oldest message not acknowledged.
    pub oldest_age_ms: Option<i64>,
}

/// Most a stream may keep.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimit {
    /// Messages.
    pub max_messages: i64,
    /// Bytes.
    pub max_bytes: i64,
}

/// The embedded bus's tables.
#[derive(Debug, Clone)]
pub struct BusRows {
    db: Db,
}

impl BusRows {
    /// On a migrated database.
    pub fn new(db: Db) -> BusRows {
        BusRows { db }
    }

    /// Which database it is.
    pub fn kind(&self) -> DbKind {
        self.db.kind()
    }

    fn sql(&self, sql: String, values: Vec<Value>) -> Statement {
        self.db.statement(sql, values)
    }

    /// Makes the counters of these streams.
    pub async fn register(&self, streams: &[String]) -> Result<(), DbError> {
        for stream in streams {
            let sql = "INSERT INTO bus_streams (stream, messages, size_bytes) VALUES ($1, 0, 0) ON CONFLICT DO NOTHING";
            self.db.write().execute_raw(self.sql(sql.into(), vec![stream.as_str().into()])).await?;
        }
        Ok(())
    }

    /// Stores a batch in its order, in one transaction. A message under a key that is there already is not stored again.
    pub async fn insert(
        &self,
        batch: &[NewRow],
        limits: &HashMap<String, StreamLimit>,
    ) -> Result<Vec<Stored>, DbError> {
        let tx = self.db.begin().await?;
        let mut usage = self.usage(&tx).await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut fitting = Vec::with_capacity(batch.len());
        for row in batch {
            let fits = match (usage.get_mut(&row.stream), limits.get(&row.stream)) {
                (Some((messages, bytes)), Some(limit)) => {
                    let fits = *messages < limit.max_messages && *bytes + row.size_bytes <= limit.max_bytes;
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
        self.insert_fitting(&tx, &fitting).await?;
        tx.commit().await?;
        Ok(outcomes)
    }

    async fn usage(&self, tx: &DatabaseTransaction) -> Result<HashMap<String, (i64, i64)>, DbError> {
        let rows =
            tx.query_all_raw(self.sql("SELECT stream, messages, size_bytes FROM bus_streams".into(), vec![])).await?;
        let usage = rows.iter().map(|row| {
            Ok((row.try_get("", "stream")?, (row.try_get("", "messages")?, row.try_get("", "size_bytes")?)))
        });
        usage.collect()
    }

    async fn insert_fitting(&self, tx: &DatabaseTransaction, rows: &[&NewRow]) -> Result<(), DbError> {
        let mut grown: HashMap<&str, (i64, i64)> = HashMap::new();
        let mut deliveries: Vec<(i64, &str)> = Vec::with_capacity(rows.len());
        for chunk in chunks(rows) {
            let by_key: HashMap<(&str, &str), &NewRow> =
                chunk.iter().rev().map(|row| ((row.stream.as_str(), row.dedupe_key.as_str()), *row)).collect();
            let sql = format!(
                "INSERT INTO bus_messages (stream, subject, dedupe_key, payload, headers, size_bytes, published_at_ms)
                 VALUES {} ON CONFLICT (stream, dedupe_key) DO NOTHING RETURNING seq, stream, dedupe_key",
                tuples(chunk.len(), 6, self.db.now_ms_sql())
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
            for stored in tx.query_all_raw(self.sql(sql, values.collect())).await? {
                let (stream, key): (String, String) =
                    (stored.try_get("", "stream")?, stored.try_get("", "dedupe_key")?);
                let Some(row) = by_key.get(&(stream.as_str(), key.as_str())) else {
                    return Err(DbError::Defect("a stored message has another key".into()));
                };
                let seq: i64 = stored.try_get("", "seq")?;
                deliveries.extend(row.consumers.iter().map(|consumer| (seq, consumer.as_str())));
                let (messages, bytes) = grown.entry(row.stream.as_str()).or_default();
                *messages += 1;
                *bytes += row.size_bytes;
            }
        }
        for chunk in chunks(&deliveries) {
            let sql = format!(
                "INSERT INTO bus_deliveries (seq, consumer, due_at_ms, deliveries, leased) VALUES {}",
                tuples(chunk.len(), 2, &format!("{}, 0, FALSE", self.db.now_ms_sql()))
            );
            let values = chunk.iter().flat_map(|(seq, consumer)| -> [Value; 2] { [(*seq).into(), (*consumer).into()] });
            tx.execute_raw(self.sql(sql, values.collect())).await?;
        }
        // Last, because on PostgreSQL this row is where concurrent publishers meet.
        self.grow(tx, grown.into_iter()).await
    }

    async fn grow<'a>(
        &self,
        tx: &DatabaseTransaction,
        by: impl Iterator<Item = (&'a str, (i64, i64))>,
    ) -> Result<(), DbError> {
        let mut by: Vec<_> = by.collect();
        by.sort_unstable();
        for (stream, (messages, bytes)) in by {
            let sql = "UPDATE bus_streams SET messages = messages + $1, size_bytes = size_bytes + $2 WHERE stream = $3";
            tx.execute_raw(self.sql(sql.into(), vec![messages.into(), bytes.into(), stream.into()])).await?;
        }
        Ok(())
    }

    /// Leases up to `limit` due deliveries for `lease_ms`, oldest first.
    pub async fn claim(&self, consumer: &str, limit: usize, lease_ms: i64) -> Result<Vec<Claimed>, DbError> {
        let now = self.db.now_ms_sql();
        // The clock in a query of its own: PostgreSQL then asks it once and bounds the index by it, instead of asking for every row.
        let due = format!(
            "SELECT seq FROM bus_deliveries WHERE consumer = $1 AND due_at_ms <= (SELECT {now})
             ORDER BY due_at_ms, seq LIMIT $2"
        );
        let picked = match self.db.kind() {
            DbKind::Sqlite => format!("seq IN ({due})"),
            // As an array it is evaluated once, whatever plan the update gets.
            DbKind::Postgres => format!("seq = ANY (ARRAY({due} FOR UPDATE SKIP LOCKED))"),
        };
        let sql = format!(
            "UPDATE bus_deliveries SET due_at_ms = {now} + $3, deliveries = deliveries + 1, leased = TRUE
             WHERE consumer || '' = $1 AND {picked} RETURNING seq, deliveries, first_error"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let tx = self.db.begin().await?;
        if self.db.kind() == DbKind::Postgres {
            tx.execute_unprepared(IN_INDEX_ORDER).await?;
        }
        let leased = tx.query_all_raw(self.sql(sql, vec![consumer.into(), limit.into(), lease_ms.into()])).await?;
        if leased.is_empty() {
            tx.rollback().await?;
            return Ok(Vec::new());
        }
        let mut leases: HashMap<i64, (i64, Option<String>)> = HashMap::with_capacity(leased.len());
        for row in &leased {
            let lease = (row.try_get("", "deliveries")?, row.try_get("", "first_error")?);
            leases.insert(row.try_get("", "seq")?, lease);
        }
        let seqs: Vec<i64> = leases.keys().copied().collect();
        let mut claimed = Vec::with_capacity(seqs.len());
        for chunk in chunks(&seqs) {
            let sql = format!(
                "SELECT seq, subject, dedupe_key, payload, headers, published_at_ms FROM bus_messages WHERE seq IN ({})",
                places(chunk.len(), 1)
            );
            let values = chunk.iter().map(|seq| Value::from(*seq)).collect();
            for row in tx.query_all_raw(self.sql(sql, values)).await? {
                claimed.push(message(&row, &mut leases)?);
            }
        }
        tx.commit().await?;
        claimed.sort_unstable_by_key(|c| c.seq);
        Ok(claimed)
    }

    /// How long until a delivery is due, in milliseconds: zero or less when one is, nothing when there is none.
    pub async fn next_due_in_ms(&self, consumer: &str) -> Result<Option<i64>, DbError> {
        let sql = format!(
            "SELECT due_at_ms - {} AS due_in_ms FROM bus_deliveries WHERE consumer = $1 ORDER BY due_at_ms LIMIT 1",
            self.db.now_ms_sql()
        );
        let row = self.db.read().query_one_raw(self.sql(sql, vec![consumer.into()])).await?;
        Ok(row.map(|row| row.try_get("", "due_in_ms")).transpose()?)
    }

    /// Applies answers in one transaction.
    pub async fn answer(&self, answers: &[Answer]) -> Result<(), DbError> {
        let now = self.db.now_ms_sql();
        let tx = self.db.begin().await?;
        let mut done: HashMap<&str, Vec<i64>> = HashMap::new();
        for answer in answers {
            let (set, mut values, seq, consumer, deliveries): (String, Vec<Value>, _, _, _) = match answer {
                Answer::Done { seq, consumer } => {
                    done.entry(consumer).or_default().push(*seq);
                    continue;
                }
                Answer::Wait { seq, consumer, deliveries, after_ms, first_error } => (
                    format!("due_at_ms = {now} + $4, leased = FALSE, first_error = COALESCE(first_error, $5)"),
                    vec![(*after_ms).into(), first_error.as_str().into()],
                    seq,
                    consumer,
                    deliveries,
                ),
                Answer::Release { seq, consumer, deliveries } => (
                    format!("due_at_ms = {now}, leased = FALSE, deliveries = deliveries - 1"),
                    vec![],
                    seq,
                    consumer,
                    deliveries,
                ),
                Answer::Extend { seq, consumer, deliveries, lease_ms } => {
                    (format!("due_at_ms = {now} + $4"), vec![(*lease_ms).into()], seq, consumer, deliveries)
                }
            };
            let sql = format!(
                "UPDATE bus_deliveries SET {set} WHERE seq = $1 AND consumer = $2 AND deliveries = $3 AND leased = TRUE"
            );
            let mut all: Vec<Value> = vec![(*seq).into(), consumer.as_str().into(), (*deliveries).into()];
            all.append(&mut values);
            tx.execute_raw(self.sql(sql, all)).await?;
        }
        for (consumer, mut seqs) in done {
            seqs.sort_unstable();
            for chunk in chunks(&seqs) {
                let sql = format!(
                    "DELETE FROM bus_deliveries WHERE consumer || '' = $1 AND seq IN ({})",
                    places(chunk.len(), 2)
                );
                let values = std::iter::once(consumer.into()).chain(chunk.iter().map(|seq| Value::from(*seq)));
                tx.execute_raw(self.sql(sql, values.collect())).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Deletes messages of a stream that nobody has to work on any more and that are older than the duplicate window; at most a
    /// thousand at a time. Tells how many.
    pub async fn prune(&self, stream: &str, window_ms: i64) -> Result<usize, DbError> {
        let sql = format!(
            "DELETE FROM bus_messages WHERE seq IN (
               SELECT m.seq FROM bus_messages m WHERE m.stream = $1 AND m.published_at_ms < {} - $2
                 AND NOT EXISTS (SELECT 1 FROM bus_deliveries d WHERE d.seq = m.seq)
               ORDER BY m.seq LIMIT 1000) RETURNING size_bytes",
            self.db.now_ms_sql()
        );
        let tx = self.db.begin().await?;
        let gone = tx.query_all_raw(self.sql(sql, vec![stream.into(), window_ms.into()])).await?;
        let mut bytes: i64 = 0;
        for row in &gone {
            bytes += row.try_get::<i64>("", "size_bytes")?;
        }
        let messages = i64::try_from(gone.len()).unwrap_or(i64::MAX);
        self.grow(&tx, std::iter::once((stream, (-messages, -bytes)))).await?;
        tx.commit().await?;
        Ok(gone.len())
    }

    /// How far behind a consumer is.
    pub async fn lag(&self, consumer: &str) -> Result<LagRow, DbError> {
        let now = self.db.now_ms_sql();
        let sql = format!(
            "SELECT COUNT(*) AS everything,
               CAST(COALESCE(SUM(CASE WHEN leased AND due_at_ms > {now} THEN 1 ELSE 0 END), 0) AS BIGINT) AS in_flight,
               (SELECT {now} - m.published_at_ms FROM bus_messages m WHERE m.seq =
                 (SELECT MIN(seq) FROM bus_deliveries WHERE consumer = $1)) AS oldest_age_ms
             FROM bus_deliveries WHERE consumer = $1"
        );
        let row = self.db.read().query_one_raw(self.sql(sql, vec![consumer.into()])).await?;
        let row = row.ok_or_else(|| DbError::Defect("a count without a row".into()))?;
        let (everything, in_flight): (i64, i64) = (row.try_get("", "everything")?, row.try_get("", "in_flight")?);
        Ok(LagRow { pending: everything - in_flight, in_flight, oldest_age_ms: row.try_get("", "oldest_age_ms")? })
    }
}

fn message(row: &QueryResult, leases: &mut HashMap<i64, (i64, Option<String>)>) -> Result<Claimed, DbError> {
    let seq: i64 = row.try_get("", "seq")?;
    let (deliveries, first_error) =
        leases.remove(&seq).ok_or_else(|| DbError::Defect("a message nobody leased".into()))?;
    Ok(Claimed {
        seq,
        deliveries,
        first_error,
        subject: row.try_get("", "subject")?,
        dedupe_key: row.try_get("", "dedupe_key")?,
        payload: row.try_get("", "payload")?,
        headers: row.try_get("", "headers")?,
        published_at_ms: row.try_get("", "published_at_ms")?,
    })
}

fn chunks<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = if rest.len() >= CHUNK { CHUNK } else { 1usize.checked_shl(rest.len().checked_ilog2()?)? };
        let (chunk, tail) = rest.split_at(size);
        rest = tail;
        Some(chunk)
    })
}

/// `($1,$2,tail),($3,$4,tail)`
fn tuples(rows: usize, columns: usize, tail: &str) -> String {
    let one = |row: usize| format!("({},{tail})", places(columns, row * columns + 1));
    (0..rows).map(one).collect::<Vec<_>>().join(",")
}

/// `$from,$from+1,…`
fn places(count: usize, from: usize) -> String {
    (from..from + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(",")
}
