//! The archive of notifications as operators read it: what the workers recorded, what was refused and kept whole, and
//! samples of everything else that was refused. One list over three tables.

use std::cmp::Reverse;

use sea_orm::{ConnectionTrait, EntityTrait, QueryResult, Value};

use super::filter::{Conditions, SCANNED, Scanned};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::notification;
use crate::store::order::rows::unreadable;
use crate::store::packed::rows::{defect, read_fact, read_notification};

/// The verdict under which refused ones are listed.
pub const REFUSED: &str = "refused";
/// Verdicts of the partial index over what is rare.
const UNSETTLED: &[&str] = &["waiting", "rejected", "parked", "no_payment"];
/// Ids of samples begin so.
const SAMPLE: &str = "sample-";
/// Notifications that one number may name.
const HITS: u32 = 1000;

/// A notification of the archive, without its bytes.
#[derive(Debug, Clone)]
pub struct ArchivedRow {
    /// The id it travelled under, or was refused under.
    pub id: String,
    pub merchant: String,
    /// `pay` or `refund`; samples have none.
    pub kind: Option<String>,
    pub verdict: String,
    pub reason: Option<String>,
    pub order_no: Option<String>,
    pub out_trade_no: Option<String>,
    pub transaction_id: Option<String>,
    /// Algorithm and key fingerprint.
    pub verified_by: Option<String>,
    pub remote_addr: String,
    pub received_at: Timestamp,
    /// When its verdict was recorded.
    pub processed_at: Option<Timestamp>,
    /// How often these bytes came, as far as they share this row.
    pub copies: i64,
    /// When the last of them came.
    pub last_received_at: Timestamp,
}

/// A notification with its bytes and what it changed.
#[derive(Debug, Clone)]
pub struct Archived {
    pub row: ArchivedRow,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body may have been cut.
    pub is_sample: bool,
    pub changes: Vec<ArchivedChange>,
}

/// A change of an order by a notification.
#[derive(Debug, Clone)]
pub struct ArchivedChange {
    /// The order's version afterwards.
    pub version: i64,
    /// The fact as JSON, with the payer's openid.
    pub fact: String,
    pub recorded_at: Timestamp,
}

/// Where a page begins: older than this.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveCursor {
    pub received_at: Timestamp,
    pub id: String,
}

impl ArchiveCursor {
    pub fn of(row: &ArchivedRow) -> ArchiveCursor {
        ArchiveCursor { received_at: row.received_at, id: row.id.clone() }
    }
}

/// Which notifications are listed; what is not set does not restrict.
#[derive(Debug, Clone, Default)]
pub struct ArchiveFilter {
    pub merchants: Option<Vec<MerchantKey>>,
    /// A verdict of the workers, or [`REFUSED`].
    pub verdict: Option<String>,
    pub kind: Option<String>,
    pub reason: Option<String>,
    /// Received at or after.
    pub from: Option<Timestamp>,
    /// Received before.
    pub to: Option<Timestamp>,
    /// These alone: see [`Store::archive_hits`].
    pub ids: Option<Vec<String>>,
    pub before: Option<ArchiveCursor>,
}

/// The three tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Part {
    Recorded,
    Refused,
    Samples,
}

impl Store {
    /// Up to `limit` notifications, newest first.
    pub async fn archive(
        &self,
        filter: &ArchiveFilter,
        limit: u64,
    ) -> Result<Scanned<ArchivedRow, ArchiveCursor>, DbError> {
        let (mut rows, mut to) = (Vec::new(), None);
        for part in [Part::Recorded, Part::Refused, Part::Samples] {
            if !part.may_have(filter) {
                continue;
            }
            let (sql, values) = archive_statement(part, filter, limit);
            let found = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
            if (found.len() as u64) < limit {
                to = to.max(self.archive_scanned_to(part, filter).await?);
            }
            for row in &found {
                rows.push(archived_row(row)?);
            }
        }
        // What is older than where a part stopped may have newer rows before it.
        rows.retain(|row| to.as_ref().is_none_or(|to| ArchiveCursor::of(row) >= *to));
        rows.sort_by_key(|row| Reverse(ArchiveCursor::of(row)));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(Scanned { rows, to })
    }

    async fn archive_scanned_to(&self, part: Part, filter: &ArchiveFilter) -> Result<Option<ArchiveCursor>, DbError> {
        let (key, table, only) = (part.key(), part.table(), part.window(filter));
        let sql = format!(
            "SELECT n.received_at_ms, {key} AS id FROM {table} AS n WHERE {} ORDER BY n.received_at_ms DESC, {key} DESC
             LIMIT 1 OFFSET {}",
            only.text(),
            SCANNED - 1
        );
        let row = self.db.read().query_one_raw(self.db.statement(sql, only.values())).await?;
        row.map(|row| {
            let received_at = Timestamp::from_ms(row.try_get("", "received_at_ms")?);
            Ok(ArchiveCursor { received_at, id: row.try_get("", "id")? })
        })
        .transpose()
    }

    /// The ids of what is about this number: an order_no, out_trade_no, transaction_id, refund_no, or the id itself.
    /// `merchants` are those of the orders, all of them by name.
    pub async fn archive_hits(&self, merchants: &[MerchantKey], number: &str) -> Result<Vec<String>, DbError> {
        let (sql, values) = hits_statement(merchants, number);
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
    }

    /// The same by the order's number alone.
    pub async fn archive_of_order(&self, merchants: &[MerchantKey], order_no: &str) -> Result<Vec<String>, DbError> {
        let mut only = Conditions::default();
        only.merchants("o.merchant", Some(merchants));
        only.add("o.order_no = {}", order_no);
        let of = only.text();
        let sql = format!(
            "SELECT n.event_id AS id FROM orders AS o JOIN notifications AS n ON n.order_id = o.id WHERE {of}
             UNION SELECT r.id FROM orders AS o JOIN refused_notifications AS r ON r.order_id = o.id WHERE {of}
             LIMIT {HITS}"
        );
        let rows = self.db.read().query_all_raw(self.db.statement(sql, only.values())).await?;
        rows.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
    }

    /// One with its bytes and what it changed.
    pub async fn archived(&self, id: &str) -> Result<Option<Archived>, DbError> {
        let filter = ArchiveFilter { ids: Some(vec![id.to_owned()]), ..ArchiveFilter::default() };
        for part in [Part::Recorded, Part::Refused, Part::Samples] {
            let (sql, values) = archive_statement(part, &filter, 1);
            let found = self.db.read().query_one_raw(self.db.statement(sql, values)).await?;
            if let Some(found) = found {
                return self.with_bytes(part, archived_row(&found)?).await.map(Some);
            }
        }
        Ok(None)
    }

    /// The headers as JSON and the body; nothing where the row was removed meanwhile.
    async fn bytes(&self, part: Part, id: &str) -> Result<Option<(String, Vec<u8>)>, DbError> {
        let (sql, key): (_, Value) = match part {
            Part::Recorded => {
                let found = notification::Entity::find_by_id(id).one(self.db.read()).await?;
                let bytes = found.map(|row| read_notification(&row).map_err(|e| defect("notifications", id, e)));
                return bytes.transpose();
            }
            Part::Refused => (
                "SELECT r.headers, b.body FROM refused_notifications AS r
                 JOIN refused_bodies AS b ON b.merchant = r.merchant AND b.hash = r.hash WHERE r.id = $1",
                id.into(),
            ),
            Part::Samples => ("SELECT '[]' AS headers, body FROM quarantine WHERE id = $1", sample_number(id).into()),
        };
        let found = self.db.read().query_one_raw(self.db.statement(sql, [key])).await?;
        let bytes = found.map(|row| Ok((row.try_get("", "headers")?, row.try_get("", "body")?)));
        bytes.transpose()
    }

    async fn with_bytes(&self, part: Part, row: ArchivedRow) -> Result<Archived, DbError> {
        let (headers, body) = self.bytes(part, &row.id).await?.unwrap_or_else(|| ("[]".to_owned(), Vec::new()));
        let sql = "SELECT e.id, e.version, e.fact, e.packed, e.source_id, e.out_trade_no, e.recorded_at_ms
                   FROM notifications AS n JOIN evidence AS e ON e.order_id = n.order_id
                   WHERE n.event_id = $1 AND e.source = 'notification' AND e.source_id = n.event_id ORDER BY e.id";
        let changes = self.db.read().query_all_raw(self.db.statement(sql, [row.id.as_str().into()])).await?;
        let changes = changes.iter().map(archived_change).collect::<Result<_, DbError>>()?;
        Ok(Archived {
            headers: serde_json::from_str(&headers).map_err(|e| unreadable("headers", &e))?,
            body,
            is_sample: part == Part::Samples,
            changes,
            row,
        })
    }
}

fn archived_change(row: &QueryResult) -> Result<ArchivedChange, DbError> {
    let (source_id, out_trade_no): (String, String) = (row.try_get("", "source_id")?, row.try_get("", "out_trade_no")?);
    let packed: Option<Vec<u8>> = row.try_get("", "packed")?;
    let id: i64 = row.try_get("", "id")?;
    let fact = read_fact(&[&source_id, &out_trade_no], row.try_get("", "fact")?, packed.as_deref());
    Ok(ArchivedChange {
        version: row.try_get("", "version")?,
        fact: fact.map_err(|e| defect("evidence", id, e))?,
        recorded_at: Timestamp::from_ms(row.try_get("", "recorded_at_ms")?),
    })
}

fn sample_number(id: &str) -> i64 {
    id.strip_prefix(SAMPLE).and_then(|number| number.parse().ok()).unwrap_or(-1)
}

impl Part {
    /// Whether anything of this table can pass the filter.
    fn may_have(self, filter: &ArchiveFilter) -> bool {
        let verdict = filter.verdict.as_deref();
        match self {
            Part::Recorded => verdict != Some(REFUSED),
            Part::Refused => verdict.is_none_or(|verdict| verdict == REFUSED),
            Part::Samples => verdict.is_none_or(|verdict| verdict == REFUSED) && filter.kind.is_none(),
        }
    }

    const fn table(self) -> &'static str {
        match self {
            Part::Recorded => "notifications",
            Part::Refused => "refused_notifications",
            Part::Samples => "quarantine",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Part::Recorded => "n.event_id",
            Part::Refused => "n.id",
            Part::Samples => "'sample-' || n.id",
        }
    }

    /// The columns of the window, as the list names them.
    fn columns(self) -> String {
        let columns = match self {
            Part::Recorded => {
                "n.kind, n.verdict, n.order_id, n.out_trade_no, n.transaction_id, n.verified_by, n.processed_at_ms,
                 CAST(1 AS BIGINT) AS copies, n.received_at_ms AS last_received_at_ms"
                    .to_owned()
            }
            Part::Refused => format!(
                "n.kind, '{REFUSED}' AS verdict, n.order_id, n.out_trade_no, n.transaction_id, NULL AS verified_by,
                 CAST(NULL AS BIGINT) AS processed_at_ms, n.copies, n.last_received_at_ms"
            ),
            Part::Samples => format!(
                "NULL AS kind, '{REFUSED}' AS verdict, CAST(NULL AS BIGINT) AS order_id, NULL AS out_trade_no,
                 NULL AS transaction_id, NULL AS verified_by, CAST(NULL AS BIGINT) AS processed_at_ms,
                 CAST(1 AS BIGINT) AS copies, n.received_at_ms AS last_received_at_ms"
            ),
        };
        format!("{} AS id, n.merchant, n.reason, n.remote_addr, n.received_at_ms, {columns}", self.key())
    }

    /// What an index has in order, or has few of.
    fn window(self, filter: &ArchiveFilter) -> Conditions {
        let (key, mut only) = (self.key(), Conditions::default());
        if let Some(ids) = &filter.ids {
            match self {
                Part::Recorded | Part::Refused => only.one_of(key, ids.iter().map(String::as_str)),
                Part::Samples => only.one_of("n.id", ids.iter().map(|id| sample_number(id))),
            }
        }
        let verdict = filter.verdict.as_deref().filter(|_| self == Part::Recorded);
        if verdict.is_some_and(|verdict| UNSETTLED.contains(&verdict)) {
            // In the words of the partial index: SQLite uses it for them alone.
            only.plain("n.verdict IN ('waiting', 'rejected', 'parked', 'no_payment')");
            only.add_option("n.verdict = {}", verdict);
        }
        only.add_option("n.received_at_ms >= {}", filter.from.map(Timestamp::as_ms));
        only.add_option("n.received_at_ms < {}", filter.to.map(Timestamp::as_ms));
        if let Some(before) = &filter.before {
            let (at, id) = (only.value(before.received_at.as_ms()), only.value(before.id.as_str()));
            only.plain(&format!("(n.received_at_ms, {key}) < ({at}, {id})"));
        }
        only
    }
}

pub(in crate::store) fn archive_statement(part: Part, filter: &ArchiveFilter, limit: u64) -> (String, Vec<Value>) {
    let (table, key, columns) = (part.table(), part.key(), part.columns());
    let mut only = part.window(filter);
    let window = only.take().text();
    only.merchants("newest.merchant", filter.merchants.as_deref());
    only.add_option("newest.verdict = {}", filter.verdict.as_deref().filter(|_| part == Part::Recorded));
    only.add_option("newest.kind = {}", filter.kind.as_deref().filter(|_| part != Part::Samples));
    only.add_option("newest.reason = {}", filter.reason.as_deref());
    let sql = format!(
        "SELECT newest.*, o.order_no
         FROM (SELECT {columns} FROM {table} AS n WHERE {window} ORDER BY n.received_at_ms DESC, {key} DESC
               LIMIT {SCANNED}) AS newest
         LEFT JOIN orders AS o ON o.id = newest.order_id
         WHERE {} ORDER BY newest.received_at_ms DESC, newest.id DESC LIMIT {limit}",
        only.text()
    );
    (sql, only.values())
}

pub(in crate::store) fn hits_statement(merchants: &[MerchantKey], number: &str) -> (String, Vec<Value>) {
    let mut only = Conditions::default();
    let number = only.value(number);
    let keys: Vec<String> = merchants.iter().map(|merchant| only.value(merchant.as_str())).collect();
    let of = |column: &str| {
        if keys.is_empty() { "FALSE".to_owned() } else { format!("{column} IN ({})", keys.join(", ")) }
    };
    let (order, attempt, payment, refund) = (of("o.merchant"), of("a.merchant"), of("p.merchant"), of("f.merchant"));
    let refused = of("r.merchant");
    let sql = format!(
        "SELECT event_id AS id FROM notifications WHERE event_id = {number}
         UNION SELECT id FROM refused_notifications WHERE id = {number}
         UNION SELECT n.event_id FROM orders AS o JOIN notifications AS n ON n.order_id = o.id
           WHERE {order} AND o.order_no = {number}
         UNION SELECT r.id FROM orders AS o JOIN refused_notifications AS r ON r.order_id = o.id
           WHERE {order} AND o.order_no = {number}
         UNION SELECT n.event_id FROM attempts AS a JOIN notifications AS n ON n.order_id = a.order_id
           WHERE {attempt} AND a.out_trade_no = {number} AND n.out_trade_no = {number}
         UNION SELECT r.id FROM refused_notifications AS r WHERE {refused} AND r.out_trade_no = {number}
         UNION SELECT n.event_id FROM payments AS p JOIN notifications AS n ON n.order_id = p.order_id
           WHERE {payment} AND p.transaction_id = {number} AND n.transaction_id = {number}
         UNION SELECT id FROM refused_notifications WHERE transaction_id = {number}
         UNION SELECT n.event_id FROM refunds AS f JOIN notifications AS n ON n.order_id = f.order_id
           WHERE {refund} AND f.refund_no = {number} AND n.kind = 'refund'
         UNION SELECT event_id FROM notifications WHERE order_id IS NULL AND out_trade_no = {number}
         UNION SELECT event_id FROM notifications WHERE order_id IS NULL AND transaction_id = {number}
         LIMIT {HITS}"
    );
    (sql, only.values())
}

fn archived_row(row: &QueryResult) -> Result<ArchivedRow, DbError> {
    let time = |column: &str| row.try_get("", column).map(Timestamp::from_ms);
    Ok(ArchivedRow {
        id: row.try_get("", "id")?,
        merchant: row.try_get("", "merchant")?,
        kind: row.try_get("", "kind")?,
        verdict: row.try_get("", "verdict")?,
        reason: row.try_get("", "reason")?,
        order_no: row.try_get("", "order_no")?,
        out_trade_no: row.try_get("", "out_trade_no")?,
        transaction_id: row.try_get("", "transaction_id")?,
        verified_by: row.try_get("", "verified_by")?,
        remote_addr: row.try_get("", "remote_addr")?,
        received_at: time("received_at_ms")?,
        processed_at: row.try_get::<Option<i64>>("", "processed_at_ms")?.map(Timestamp::from_ms),
        copies: row.try_get("", "copies")?,
        last_received_at: time("last_received_at_ms")?,
    })
}
