//! What every table says about an order, for its history: without bodies, replies and parameters.

use std::time::Duration;

use super::trail_row::{Trail, TrailBooking, TrailNotification, TrailRow};
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::packed::rows::{defect, read_fact};
use crate::store::writer::Row;

/// The newest rows of each source that a history has; one flooded source displaces no other.
const ROWS: usize = 200;

struct Source {
    name: &'static str,
    /// `$1` is the order's row, `$2` its merchant, `$3` its number; the newest rows first.
    sql: &'static str,
    read: fn(&Row) -> Result<TrailRow, DbError>,
}

const SOURCES: &[Source] = &[
    Source {
        name: "calls",
        sql: "SELECT number, api, outcome, code, message, at_ms, took_ms FROM calls
              WHERE order_id = $1 ORDER BY id DESC LIMIT $4",
        read: call,
    },
    Source {
        name: "decisions",
        sql: "SELECT version, out_trade_no, source, source_id, fact, packed, verified_by, received_at_ms,
                     recorded_at_ms, took_ms, state
              FROM evidence WHERE order_id = $1 ORDER BY version DESC LIMIT $4",
        read: change,
    },
    Source {
        name: "refused_notifications",
        sql: "SELECT r.id AS event_id, r.kind AS kind, 'refused' AS verdict, r.reason AS reason,
                     CAST(NULL AS TEXT) AS verified_by, r.transaction_id AS transaction_id,
                     r.remote_addr AS remote_addr, CAST(length(b.body) AS BIGINT) AS bytes,
                     r.received_at_ms AS received_at_ms, CAST(NULL AS BIGINT) AS processed_at_ms
              FROM refused_notifications AS r
              LEFT JOIN refused_bodies AS b ON b.merchant = r.merchant AND b.hash = r.hash
              WHERE r.order_id = $1 ORDER BY r.received_at_ms DESC, r.id DESC LIMIT $4",
        read: notification,
    },
    Source {
        name: "notifications",
        sql: "SELECT event_id, kind, verdict, reason, verified_by, transaction_id, remote_addr,
                     CASE WHEN packed IS NULL THEN CAST(length(body) AS BIGINT) END AS bytes,
                     received_at_ms, processed_at_ms
              FROM notifications WHERE order_id = $1 ORDER BY received_at_ms DESC, event_id DESC LIMIT $4",
        read: notification,
    },
    Source {
        name: "ledger",
        sql: "SELECT entry, transaction_id, amount_fen, currency, from_class, to_class, reason, done_by, evidence,
                     occurred_at_ms, recorded_at_ms
              FROM ledger WHERE order_id = $1 ORDER BY id DESC LIMIT $4",
        read: ledger,
    },
    Source {
        name: "refunds",
        sql: "SELECT refund_no, transaction_id, amount_fen, currency, origin, reason, requested_by, created_at_ms
              FROM refunds WHERE order_id = $1 ORDER BY id DESC LIMIT $4",
        read: refund,
    },
    Source {
        name: "refund_decisions",
        sql: "SELECT r.refund_no AS refund_no, e.version AS version, r.transaction_id AS transaction_id,
                     e.source AS source, e.source_id AS source_id, e.fact AS fact, e.packed AS packed,
                     e.verified_by AS verified_by,
                     e.received_at_ms AS received_at_ms, e.recorded_at_ms AS recorded_at_ms, e.state AS state
              FROM refunds AS r JOIN refund_evidence AS e ON e.refund = r.id
              WHERE r.order_id = $1 ORDER BY e.id DESC LIMIT $4",
        read: refund_change,
    },
    Source {
        name: "refund_ledger",
        sql: "SELECT refund_no, refund_id, transaction_id, amount_fen, currency, occurred_at_ms, recorded_at_ms
              FROM refund_ledger WHERE order_id = $1 ORDER BY id DESC LIMIT $4",
        read: refund_ledger,
    },
    Source {
        name: "events",
        sql: "SELECT event_id, event_type, created_at_ms, relayed_at_ms FROM outbox
              WHERE order_no = $3 AND merchant = $2 ORDER BY id DESC LIMIT $4",
        read: event,
    },
    Source {
        name: "deliveries",
        sql: "SELECT endpoint_id, event_id, event_type, outcome, status, took_ms, started_at_ms FROM webhook_attempts
              WHERE order_no = $3 AND merchant = $2 ORDER BY id DESC LIMIT $4",
        read: delivery,
    },
    Source {
        name: "actions",
        sql: "SELECT actor, remote_addr, action, transaction_id, reason, result, at_ms FROM audit
              WHERE order_no = $3 AND merchant = $2 ORDER BY id DESC LIMIT $4",
        read: action,
    },
];

impl Store {
    /// What is stored about an order.
    pub async fn trail(&self, order: &crate::order::Order) -> Result<Trail, DbError> {
        let mut trail = Trail::default();
        for source in SOURCES {
            let (sql, all) =
                numbered(source.sql, [order.id.into(), order.merchant.as_str().into()], order.order_no.as_str());
            let mut rows = self.db.reader().rows(&sql, all).await?;
            if rows.len() > ROWS {
                trail.truncated.push(source.name);
                rows.truncate(ROWS);
            }
            for row in rows.iter().rev() {
                trail.rows.push((source.read)(row)?);
            }
        }
        Ok(trail)
    }
}

/// The statement with the values that it names, numbered from 1: PostgreSQL refuses values that no place names.
fn numbered(sql: &str, [id, merchant]: [sea_orm::Value; 2], order_no: &str) -> (String, Vec<sea_orm::Value>) {
    let limit = i64::try_from(ROWS + 1).unwrap_or(i64::MAX);
    if sql.contains("$1") {
        (sql.replace("$4", "$2"), vec![id, limit.into()])
    } else {
        (sql.replace("$3", "$1").replace("$4", "$3"), vec![order_no.into(), merchant, limit.into()])
    }
}

/// The statements, with their values, for a test of the plans.
#[doc(hidden)]
pub fn trail_statements() -> Vec<(&'static str, String, Vec<sea_orm::Value>)> {
    let sql = |source: &Source| {
        let (sql, values) = numbered(source.sql, [1_i64.into(), "main".into()], "A1");
        (source.name, sql, values)
    };
    SOURCES.iter().map(sql).collect()
}

fn time(row: &Row, column: &str) -> Result<Timestamp, DbError> {
    row.get(column).map(Timestamp::from_ms)
}

fn duration(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or_default())
}

fn change(row: &Row) -> Result<TrailRow, DbError> {
    Ok(TrailRow::Change {
        refund_no: None,
        version: row.get("version")?,
        number: row.get("out_trade_no")?,
        source: row.get("source")?,
        source_id: row.get("source_id")?,
        fact: fact(row, "evidence", &[&row.get::<String>("source_id")?, &row.get::<String>("out_trade_no")?])?,
        verified_by: row.get("verified_by")?,
        received_at: time(row, "received_at_ms")?,
        recorded_at: time(row, "recorded_at_ms")?,
        took: row.get::<Option<i64>>("took_ms")?.map(duration),
        state: row.get("state")?,
    })
}

fn refund_change(row: &Row) -> Result<TrailRow, DbError> {
    Ok(TrailRow::Change {
        refund_no: Some(row.get("refund_no")?),
        version: row.get("version")?,
        number: row.get("transaction_id")?,
        source: row.get("source")?,
        source_id: row.get("source_id")?,
        fact: fact(row, "refund_evidence", &[&row.get::<String>("source_id")?])?,
        verified_by: row.get("verified_by")?,
        received_at: time(row, "received_at_ms")?,
        recorded_at: time(row, "recorded_at_ms")?,
        took: None,
        state: row.get("state")?,
    })
}

fn fact(row: &Row, table: &str, context: &[&str]) -> Result<String, DbError> {
    let packed: Option<Vec<u8>> = row.get("packed")?;
    read_fact(context, row.get("fact")?, packed.as_deref())
        .map_err(|e| defect(table, format!("{} of {}", row.get::<i64>("version").unwrap_or_default(), context[0]), e))
}

fn call(row: &Row) -> Result<TrailRow, DbError> {
    Ok(TrailRow::Call {
        number: row.get("number")?,
        api: row.get("api")?,
        outcome: row.get("outcome")?,
        code: row.get("code")?,
        message: row.get("message")?,
        at: time(row, "at_ms")?,
        took: row.get("took_ms").map(duration)?,
    })
}

fn notification(row: &Row) -> Result<TrailRow, DbError> {
    let notification = TrailNotification {
        id: row.get("event_id")?,
        about: row.get("kind")?,
        verdict: row.get("verdict")?,
        reason: row.get("reason")?,
        verified_by: row.get("verified_by")?,
        transaction_id: row.get("transaction_id")?,
        remote_addr: row.get("remote_addr")?,
        bytes: row.get("bytes")?,
        processed_at: row.get::<Option<i64>>("processed_at_ms")?.map(Timestamp::from_ms),
    };
    Ok(TrailRow::Notification(time(row, "received_at_ms")?, notification))
}

fn ledger(row: &Row) -> Result<TrailRow, DbError> {
    let booked = TrailBooking {
        entry: row.get("entry")?,
        from: row.get("from_class")?,
        to: row.get("to_class")?,
        reason: row.get("reason")?,
        by: row.get("done_by")?,
        evidence: row.get("evidence")?,
        ..money(row)?
    };
    Ok(TrailRow::Ledger { refund_no: None, recorded_at: time(row, "recorded_at_ms")?, booked })
}

/// How much of which payment, when.
fn money(row: &Row) -> Result<TrailBooking, DbError> {
    Ok(TrailBooking {
        entry: String::new(),
        transaction_id: row.get("transaction_id")?,
        amount_fen: row.get("amount_fen")?,
        currency: row.get("currency")?,
        from: None,
        to: None,
        reason: None,
        by: None,
        evidence: None,
        occurred_at: time(row, "occurred_at_ms")?,
    })
}

fn refund(row: &Row) -> Result<TrailRow, DbError> {
    Ok(TrailRow::Refund {
        refund_no: row.get("refund_no")?,
        transaction_id: row.get("transaction_id")?,
        amount_fen: row.get("amount_fen")?,
        currency: row.get("currency")?,
        origin: row.get("origin")?,
        reason: row.get("reason")?,
        by: row.get("requested_by")?,
        created_at: time(row, "created_at_ms")?,
    })
}

fn refund_ledger(row: &Row) -> Result<TrailRow, DbError> {
    let evidence = Some(format!("refund_id:{}", row.get::<String>("refund_id")?));
    let booked = TrailBooking { entry: "refund".to_owned(), evidence, ..money(row)? };
    Ok(TrailRow::Ledger { refund_no: Some(row.get("refund_no")?), recorded_at: time(row, "recorded_at_ms")?, booked })
}

fn event(row: &Row) -> Result<TrailRow, DbError> {
    Ok(TrailRow::Event {
        id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        created_at: time(row, "created_at_ms")?,
        relayed_at: row.get::<Option<i64>>("relayed_at_ms")?.map(Timestamp::from_ms),
    })
}

fn delivery(row: &Row) -> Result<TrailRow, DbError> {
    Ok(TrailRow::Delivery {
        event_id: row.get("event_id")?,
        event_type: row.get("event_type")?,
        endpoint: row.get("endpoint_id")?,
        outcome: row.get("outcome")?,
        status: row.get("status")?,
        took_ms: row.get("took_ms")?,
        at: time(row, "started_at_ms")?,
    })
}

fn action(row: &Row) -> Result<TrailRow, DbError> {
    Ok(TrailRow::Action {
        actor: row.get("actor")?,
        remote_addr: row.get("remote_addr")?,
        action: row.get("action")?,
        transaction_id: row.get("transaction_id")?,
        reason: row.get("reason")?,
        result: row.get("result")?,
        at: time(row, "at_ms")?,
    })
}
