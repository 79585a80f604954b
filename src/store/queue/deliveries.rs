//! Leasing deliveries, answering them, and counting what is left.

use std::collections::{BTreeMap, HashMap};

use sea_orm::{ConnectionTrait, Value};

use super::space::empty;
use super::{Answer, BusRows, Claim, Claimed, Finished, LagRow};
use crate::store::{DbError, DbKind, Row, WriteTx};

/// A queue's table is never like its statistics: PostgreSQL would fetch and sort the whole backlog for every claim
/// instead of reading its beginning from the index. For the same reason, statements that name their rows by number
/// write `consumer || ''`, which keeps the planner from the index that starts with the consumer.
const IN_INDEX_ORDER: &str =
    "SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off";

impl BusRows {
    /// Leases up to `limit` due deliveries for `lease_ms`, oldest first.
    pub async fn claim(&self, consumer: &str, limit: usize, lease_ms: i64) -> Result<Vec<Claimed>, DbError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let write = (consumer.to_owned(), limit, lease_ms);
        self.db
            .write("bus.claim", write, |tx, (consumer, limit, lease)| Box::pin(claim(tx, consumer, *limit, *lease)))
            .await
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

    /// Applies answers in one transaction, after locking their rows in one order.
    pub async fn answer(&self, answers: &[(Claim, Answer)]) -> Result<(), DbError> {
        self.db.write("bus.answer", answers.to_vec(), |tx, answers| Box::pin(answer(tx, answers))).await
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

async fn claim(tx: &WriteTx, consumer: &str, limit: i64, lease_ms: i64) -> Result<Vec<Claimed>, DbError> {
    let now = tx.now_ms_sql();
    // The clock in a query of its own: PostgreSQL then asks it once and bounds the index by it, instead of asking for
    // every row.
    let due = format!(
        "SELECT seq FROM bus_deliveries WHERE consumer = $1 AND due_at_ms <= (SELECT {now})
             ORDER BY due_at_ms, seq LIMIT $2"
    );
    let picked = match tx.kind() {
        DbKind::Sqlite => format!("seq IN ({due})"),
        // As an array it is evaluated once, whatever plan the update gets.
        DbKind::Postgres => format!("seq = ANY (ARRAY({due} FOR UPDATE SKIP LOCKED))"),
    };
    let sql = format!(
        "UPDATE bus_deliveries SET due_at_ms = {now} + $3, deliveries = deliveries + 1, leased = TRUE
             WHERE consumer || '' = $1 AND {picked} RETURNING seq, deliveries, first_error"
    );
    if tx.kind() == DbKind::Postgres {
        tx.execute_unprepared(IN_INDEX_ORDER).await?;
    }
    let leased = tx.all(&sql, vec![consumer.into(), limit.into(), lease_ms.into()]).await?;
    if leased.is_empty() {
        return Ok(Vec::new());
    }
    let mut leases: HashMap<i64, (i64, Option<String>)> = HashMap::with_capacity(leased.len());
    for row in &leased {
        let lease = (row.get("deliveries")?, row.get("first_error")?);
        leases.insert(row.get("seq")?, lease);
    }
    let sql = format!(
        "SELECT seq, subject, dedupe_key, payload, headers, size_bytes, published_at_ms FROM bus_messages WHERE {}",
        tx.kind().among_numbers("seq", 1)
    );
    let mut claimed = Vec::with_capacity(leases.len());
    for row in tx.all(&sql, [tx.kind().numbers(leases.keys().copied())]).await? {
        claimed.push(message(&row, &mut leases)?);
    }
    claimed.sort_unstable_by_key(|c| c.seq);
    Ok(claimed)
}

async fn answer(tx: &WriteTx, answers: &[(Claim, Answer)]) -> Result<(), DbError> {
    let now = tx.now_ms_sql();
    let seqs: Vec<i64> = answers.iter().map(|(claim, _)| claim.seq).collect();
    lock_deliveries(tx, &seqs);
    let mut done: Vec<(&Claim, i64)> = Vec::new();
    for (claim @ Claim { seq, consumer, deliveries }, answer) in answers {
        let (set, more): (String, Vec<Value>) = match answer {
            Answer::Done { frees } => {
                done.push((claim, *frees));
                continue;
            }
            Answer::Wait { after_ms, first_error } => (
                format!("due_at_ms = {now} + $4, leased = FALSE, first_error = COALESCE(first_error, $5)"),
                vec![(*after_ms).into(), first_error.as_str().into()],
            ),
            Answer::Release => (format!("due_at_ms = {now}, leased = FALSE, deliveries = deliveries - 1"), vec![]),
            Answer::Extend { lease_ms } => (format!("due_at_ms = {now} + $4"), vec![(*lease_ms).into()]),
        };
        let sql = format!(
            "UPDATE bus_deliveries SET {set} WHERE seq = $1 AND consumer = $2 AND deliveries = $3 AND leased = TRUE"
        );
        let values = [(*seq).into(), consumer.as_str().into(), (*deliveries).into()].into_iter().chain(more);
        tx.execute(&sql, values).await?;
    }
    delete(tx, &done).await
}

/// Ends deliveries in the transaction that holds their effects. Behind everything else of it: other transactions wait
/// for the stream's counter.
pub(in crate::store) async fn finish(tx: &WriteTx, finished: &[&Finished]) -> Result<(), DbError> {
    if finished.is_empty() {
        return Ok(());
    }
    let seqs: Vec<i64> = finished.iter().map(|one| one.claim.seq).collect();
    lock_deliveries(tx, &seqs);
    delete(tx, &finished.iter().map(|one| (&one.claim, one.frees)).collect::<Vec<_>>()).await
}

async fn delete(tx: &WriteTx, done: &[(&Claim, i64)]) -> Result<(), DbError> {
    let mut by_consumer: HashMap<&str, BTreeMap<i64, i64>> = HashMap::new();
    for (claim, frees) in done {
        by_consumer.entry(&claim.consumer).or_default().insert(claim.seq, *frees);
    }
    let sql = format!(
        "DELETE FROM bus_deliveries WHERE consumer || '' = $1 AND {} RETURNING seq",
        tx.kind().among_numbers("seq", 2)
    );
    // Only what this transaction deletes: of two that finish the same delivery, one empties its message.
    let mut emptied: Vec<(i64, i64)> = Vec::new();
    for (consumer, frees) in by_consumer {
        for row in tx.all_behind(&sql, [consumer.into(), tx.kind().numbers(frees.keys().copied())]).await? {
            let seq: i64 = row.get("seq")?;
            emptied.extend(frees.get(&seq).filter(|size| **size > 0).map(|size| (seq, *size)));
        }
    }
    emptied.sort_unstable();
    empty(tx, &emptied).await
}

/// Locks the deliveries of these messages in the order of their numbers, as every transaction that changes several and
/// waits for them does first: when a lease passed on, two processes answer for the same deliveries, each in its own
/// order, and would wait for each other. Claims pass over what is locked and so never wait. SQLite has one writer.
pub(super) fn lock_deliveries(tx: &WriteTx, seqs: &[i64]) {
    if tx.kind() == DbKind::Sqlite || seqs.len() < 2 {
        return;
    }
    let sql = format!(
        "SELECT seq FROM bus_deliveries WHERE {} ORDER BY seq, consumer FOR UPDATE",
        tx.kind().among_numbers("seq", 1)
    );
    tx.lock_later(&sql, [tx.kind().numbers(seqs.iter().copied())]);
}

fn message(row: &Row, leases: &mut HashMap<i64, (i64, Option<String>)>) -> Result<Claimed, DbError> {
    let seq: i64 = row.get("seq")?;
    let (deliveries, first_error) =
        leases.remove(&seq).ok_or_else(|| DbError::Defect("a message without a lease".into()))?;
    Ok(Claimed {
        seq,
        deliveries,
        first_error,
        subject: row.get("subject")?,
        dedupe_key: row.get("dedupe_key")?,
        payload: row.get("payload")?,
        headers: row.get("headers")?,
        size_bytes: row.get("size_bytes")?,
        published_at_ms: row.get("published_at_ms")?,
    })
}
