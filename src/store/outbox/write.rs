//! Writing events inside the transaction that makes them true, and giving positions.

use sea_orm::{ActiveModelTrait, Set, Value};

use crate::store::db::{DbError, DbKind};
use crate::store::entity::outbox;
use crate::store::packed::rows::write_event;
use crate::store::writer::{Holds, Outcome, Rowwise, WriteTx};

// Texts for `concat!`, which takes no constants.
macro_rules! unplaced {
    () => {
        "SELECT CAST(1 AS BIGINT) AS one FROM outbox WHERE position IS NULL LIMIT 1"
    };
}

macro_rules! last_position {
    () => {
        "SELECT MAX(position) AS position FROM (SELECT last_position AS position FROM feed
                                                UNION ALL SELECT MAX(position) FROM outbox) AS known"
    };
}

pub(super) const UNPLACED: &str = unplaced!();

/// The last position given out, also by an older process, which leaves the row behind.
pub(in crate::store) const LAST_POSITION: &str = last_position!();

/// Writes outbox rows inside the transaction that makes the events true, with their positions where no other
/// transaction gives some at this moment. On PostgreSQL, where others wait to do so, it is best the last a write does.
pub(in crate::store) async fn write_events(tx: &WriteTx, mut rows: Vec<outbox::ActiveModel>) -> Result<(), DbError> {
    if rows.is_empty() {
        return Ok(());
    }
    rows.iter_mut().for_each(|row| write_event(tx, row));
    match tx.kind() {
        DbKind::Sqlite => continue_feed(tx, rows).await,
        DbKind::Postgres if write_placed(tx, &rows).await? => Ok(()),
        DbKind::Postgres => tx.insert_later(rows, None),
    }
}

/// On SQLite no other transaction can give positions before this one ends.
async fn continue_feed(tx: &WriteTx, mut rows: Vec<outbox::ActiveModel>) -> Result<(), DbError> {
    // Another version of the program may write events unplaced.
    let (is_any_unplaced, mut last) = unplaced_and_last(tx).await?;
    if is_any_unplaced {
        give_positions(tx, i64::MAX).await?;
        last = unplaced_and_last(tx).await?.1;
    }
    for (position, row) in (last + 1..).zip(&mut rows) {
        row.position = Set(Some(position));
        if tx.form().relayed {
            row.relayed_at_ms = Set(row.created_at_ms.try_as_ref().copied());
        }
    }
    if let Some(last) = rows.last() {
        let values = [last.position.clone().into_value(), last.event_id.clone().into_value()];
        let sql = "UPDATE feed SET last_position = $1, last_event_id = $2";
        tx.execute(sql, values.into_iter().flatten()).await?;
    }
    tx.insert_later(rows, None)
}

/// Writes events with their positions on PostgreSQL, once no other transaction can give any before this one ends;
/// whether it did.
async fn write_placed(tx: &WriteTx, rows: &[outbox::ActiveModel]) -> Result<bool, DbError> {
    if tx.all_behind(FEED_LOCK, []).await?.is_empty() {
        return Ok(false);
    }
    if insert_placed(tx, rows).await? {
        return Ok(true);
    }
    // Another version of the program may write events unplaced, and a crash may have left some.
    give_positions(tx, PLACED_BESIDE).await?;
    insert_placed(tx, rows).await
}

/// Inserts events behind the last position where every event committed before has its own: an order's earlier event
/// may be one that was left unplaced. A statement of its own, because it must see what was committed before the lock
/// was given. Whether it did.
async fn insert_placed(tx: &WriteTx, rows: &[outbox::ActiveModel]) -> Result<bool, DbError> {
    static INSERT: Rowwise = Rowwise::new(
        &[
            ("n", Holds::Integer),
            ("is_relayed", Holds::Truth),
            ("event_id", Holds::Text),
            ("merchant", Holds::Text),
            ("order_no", Holds::Text),
            ("subject", Holds::Text),
            ("event_type", Holds::Text),
            ("payload", Holds::Text),
            ("created_at_ms", Holds::Integer),
            ("packed", Holds::Bytes),
        ],
        concat!(
            "INSERT INTO outbox (event_id, merchant, order_no, subject, event_type, payload, created_at_ms, position,
                                 relayed_at_ms, packed)
             SELECT v.event_id, v.merchant, v.order_no, v.subject, v.event_type, v.payload, v.created_at_ms,
                    COALESCE(feed_end.position, 0) + v.n, CASE WHEN v.is_relayed THEN v.created_at_ms END, v.packed
             {from} CROSS JOIN (SELECT (",
            unplaced!(),
            ") AS unplaced, (",
            last_position!(),
            ") AS position) AS feed_end WHERE feed_end.unplaced IS NULL"
        ),
    )
    .returning("position");
    use outbox::Column::{CreatedAtMs, EventId, EventType, Merchant, OrderNo, Packed, Payload, Subject};
    let columns = [EventId, Merchant, OrderNo, Subject, EventType, Payload, CreatedAtMs, Packed];
    let values = |(n, row): (i64, &outbox::ActiveModel)| {
        let of_row = columns.iter().filter_map(|column| row.get(*column).into_value());
        [Value::from(n), Value::from(tx.form().relayed)].into_iter().chain(of_row).collect()
    };
    let values: Vec<Vec<Value>> = (1..).zip(rows).map(values).collect();
    match tx.over_behind(&INSERT, &values).await? {
        Outcome::Returned(rows) => Ok(!rows.is_empty()),
        Outcome::Each(rows) => Ok(!rows.is_empty()),
    }
}

/// Whether an event is unplaced, and the last position.
async fn unplaced_and_last(tx: &WriteTx) -> Result<(bool, i64), DbError> {
    let sql = format!("SELECT ({UNPLACED}) AS unplaced, ({LAST_POSITION}) AS position");
    let Some(row) = tx.one(&sql, []).await? else { return Ok((false, 0)) };
    let position: Option<i64> = row.get("position")?;
    Ok((row.get::<Option<i64>>("unplaced")?.is_some(), position.unwrap_or(0)))
}

/// The row that is locked while positions are given (`leases::holds`). Not awaited: what is not placed now is placed
/// soon. A process that is stopped while it has the lock loses it soon, with its transaction: all others wait for it.
#[doc(hidden)]
pub const FEED_LOCK: &str = "SELECT term, set_config('idle_in_transaction_session_timeout', '4s', TRUE) AS within
                             FROM leases WHERE name = 'feed' FOR UPDATE SKIP LOCKED";

/// How many events that others left a transaction places before its own.
const PLACED_BESIDE: i64 = 512;

pub(super) async fn give_positions(tx: &WriteTx, limit: i64) -> Result<u64, DbError> {
    let sql = format!(
        "WITH top AS MATERIALIZED ({LAST_POSITION}),
           todo AS (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS n
                    FROM (SELECT id FROM outbox WHERE position IS NULL ORDER BY id LIMIT $1) AS waiting)
         UPDATE outbox SET position = top.position + todo.n FROM top, todo WHERE outbox.id = todo.id"
    );
    tx.execute(&sql, [limit.into()]).await
}
