//! Messages that operators read: no lease is taken, and no delivery counts.

use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::{BusRows, PeekedRow};
use crate::store::DbError;

impl BusRows {
    /// The oldest messages behind `after` that still have a body; with a consumer, those that it has to work on.
    pub async fn peek(
        &self,
        stream: &str,
        consumer: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<PeekedRow>, DbError> {
        let mut values: Vec<Value> = vec![stream.into(), after.into()];
        let only = consumer.map_or("", |consumer| {
            values.push(consumer.into());
            " AND EXISTS (SELECT 1 FROM bus_deliveries d WHERE d.seq = m.seq AND d.consumer = $3)"
        });
        let sql = format!(
            "SELECT m.seq, m.subject, m.dedupe_key, m.payload, m.published_at_ms FROM bus_messages m
             WHERE m.stream = $1 AND m.seq > $2 AND m.size_bytes > 0{only} ORDER BY m.seq LIMIT {limit}"
        );
        let rows = self.db.read().query_all_raw(self.sql(sql, values)).await?;
        let peeked = |row: QueryResult| {
            Ok(PeekedRow {
                seq: row.try_get("", "seq")?,
                subject: row.try_get("", "subject")?,
                dedupe_key: row.try_get("", "dedupe_key")?,
                payload: row.try_get("", "payload")?,
                published_at_ms: row.try_get("", "published_at_ms")?,
            })
        };
        rows.into_iter().map(peeked).collect()
    }
}
