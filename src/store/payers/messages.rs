//! Messages without a payer: what WeChat posted, what was refused, what waits in the queue; and a payer's logins.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::scan::{Page, Payer, ROWS, number};
use super::types::Needed;
use super::words::replaced;
use crate::order::OrderState;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::entity::notification;
use crate::store::packed::rows::{read_notification, rewritten_notification};
use crate::store::writer::Row;

const END_SESSIONS: &str = "INSERT INTO ended_sessions (app, openid, ended_at_ms)
    SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), MAX(ended_at_ms) FROM ended_sessions
      WHERE app = $1 AND openid IN ($2, $3)
      HAVING MAX(ended_at_ms) IS NOT NULL
    ON CONFLICT (app, openid) DO UPDATE SET ended_at_ms = excluded.ended_at_ms
      WHERE ended_sessions.ended_at_ms < excluded.ended_at_ms";

/// The payer's logins until the request. The end of the sessions stays under the payer's name.
pub async fn logins(store: &Store, payer: &Payer<'_>) -> Result<Page, DbError> {
    let reader = store.db().reader();
    let (app, openid, until) = (payer.app.as_str(), payer.openid, payer.until);
    let mut page = Page::default();
    let sql = "SELECT 1 AS found FROM users WHERE app = $1 AND openid = $2 AND updated_at_ms <= $3";
    if !reader.rows(sql, [app.into(), openid.into(), until.into()]).await?.is_empty() {
        let of_user = "DELETE FROM login_codes WHERE user_id IN (
                         SELECT id FROM users WHERE app = $1 AND openid = $2 AND updated_at_ms <= $3)";
        page.removes(of_user, [app.into(), openid.into(), until.into()]);
        let user = "DELETE FROM users WHERE app = $1 AND openid = $2 AND updated_at_ms <= $3";
        page.removes(user, [app.into(), openid.into(), until.into()]);
    }
    let sql = "SELECT order_no FROM wallet_orders WHERE app = $1 AND openid = $2 AND offered_at_ms <= $3";
    for row in reader.rows(sql, [app.into(), openid.into(), until.into()]).await? {
        let order_no: String = row.get("order_no")?;
        match standing(store, payer, &order_no).await? {
            // The order itself is waited for, and has the payer as well until it ends.
            Standing::Open => {}
            Standing::Live => page.found.push(Needed::Orders),
            Standing::Over => {
                let offer = "DELETE FROM wallet_orders WHERE app = $1 AND openid = $2 AND order_no = $3";
                page.removes(offer, [app.into(), openid.into(), order_no.into()]);
            }
        }
    }
    // Of any time: it counts on under the name.
    let sql = "SELECT 1 AS found FROM ended_sessions WHERE app = $1 AND openid = $2";
    if !reader.rows(sql, [app.into(), openid.into()]).await?.is_empty() {
        page.changes(END_SESSIONS, [app.into(), session_name(payer).into(), openid.into()]);
        let ended = "DELETE FROM ended_sessions WHERE app = $1 AND openid = $2";
        page.removes(ended, [app.into(), openid.into()]);
    }
    Ok(page)
}

/// Whether an order that the wallet offered may still be paid.
enum Standing {
    Open,
    /// It has ended here, and WeChat may still take money for it.
    Live,
    Over,
}

async fn standing(store: &Store, payer: &Payer<'_>, order_no: &str) -> Result<Standing, DbError> {
    let kind = store.db().kind();
    let of_scope = kind.among_texts("o.merchant", 1);
    let sql = format!(
        "SELECT o.state AS state FROM orders AS o
         WHERE {of_scope} AND o.order_no = $2 AND o.app = $3
           AND (o.state IN ('requested', 'payable')
                OR EXISTS (SELECT 1 FROM attempts AS a
                           WHERE a.order_id = o.id AND a.state IN ('created', 'unknown', 'payable')))"
    );
    let merchants = kind.texts(payer.scope.merchants.iter().map(String::as_str));
    let rows = store.db().reader().rows(&sql, [merchants, order_no.into(), payer.app.as_str().into()]).await?;
    let mut standing = Standing::Over;
    for row in &rows {
        let state: String = row.get("state")?;
        if OrderState::parse(&state).is_none_or(OrderState::is_open) {
            return Ok(Standing::Open);
        }
        standing = Standing::Live;
    }
    Ok(standing)
}

/// The name by the database's own key, which no configuration changes.
fn session_name<'p>(payer: &'p Payer<'_>) -> &'p str {
    payer.names.last().map_or(payer.name, String::as_str)
}

/// Money that may still move because of a message of this payment or order: as in `Kept::Notifications`, which this may
/// not fall short of.
macro_rules! is_over {
    ($of:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM payments AS p WHERE p.merchant = ",
            $of,
            ".merchant AND p.transaction_id = ",
            $of,
            ".transaction_id AND p.class IN ('held', 'unmatched'))
             AND NOT EXISTS (SELECT 1 FROM orders AS o WHERE o.id = ",
            $of,
            ".order_id AND o.state IN ('requested', 'payable'))
             AND NOT EXISTS (SELECT 1 FROM refunds AS f WHERE f.order_id = ",
            $of,
            ".order_id AND f.next_at_ms IS NOT NULL)"
        )
    };
}

/// No process and no person reads the notification again.
macro_rules! may_change {
    () => {
        concat!(
            "verdict <> 'waiting'
             AND NOT EXISTS (SELECT 1 FROM dead_letters AS d
                             WHERE d.event_id = notifications.event_id AND d.state = 'parked')
             AND NOT EXISTS (SELECT 1 FROM deferred AS w WHERE w.event_id = notifications.event_id)
             AND ",
            is_over!("notifications")
        )
    };
}

const WRITE_NOTIFICATION: &str =
    concat!("UPDATE notifications SET headers = $1, body = $2, packed = $3 WHERE event_id = $4 AND ", may_change!());
const MAY_CHANGE: &str = concat!("SELECT 1 AS found FROM notifications WHERE event_id = $1 AND ", may_change!());

/// Notifications that are the payer's: the name takes the openid's place in their bodies.
pub async fn notifications(store: &Store, payer: &Payer<'_>, key: &str) -> Result<Page, DbError> {
    let rows = notification::Entity::find()
        .filter(notification::Column::EventId.gt(key))
        .order_by_asc(notification::Column::EventId)
        .limit(ROWS);
    let rows = rows.all(store.db().read()).await?;
    let mut page = Page::after(rows.len(), rows.last().map(|row| row.event_id.clone()));
    for row in &rows {
        let read = read_notification(row);
        if read.as_ref().is_ok_and(|(_, body)| !payer.is_payer_of(body)) || !is_of_then(store, row, payer).await? {
            continue;
        }
        let (headers, body) = match read {
            Ok(read) => read,
            Err(error) => {
                page.cannot_read("notifications", &row.event_id, &error);
                continue;
            }
        };
        if store.db().reader().rows(MAY_CHANGE, [row.event_id.as_str().into()]).await?.is_empty() {
            page.found.push(Needed::Notifications);
            continue;
        }
        let body = replaced(&String::from_utf8_lossy(&body), payer.openid, payer.name);
        let (headers, body, packed) = rewritten_notification(row, &headers, body.as_bytes());
        page.changes(WRITE_NOTIFICATION, [headers.into(), body.into(), packed.into(), row.event_id.as_str().into()]);
    }
    Ok(page)
}

/// Whether it is of an order of the app of before the request, or came before it to a merchant of the app.
async fn is_of_then(store: &Store, row: &notification::Model, payer: &Payer<'_>) -> Result<bool, DbError> {
    let Some(order_id) = row.order_id else {
        return Ok(row.received_at_ms <= payer.until && payer.is_of_merchant(&row.merchant));
    };
    let sql = "SELECT 1 AS found FROM orders WHERE id = $1 AND app = $2 AND created_at_ms <= $3";
    let values = [order_id.into(), payer.app.as_str().into(), payer.until.into()];
    Ok(!store.db().reader().rows(sql, values).await?.is_empty())
}

/// What is needed of a body is needed whole: each refused notification that has it.
macro_rules! is_needed_body {
    () => {
        concat!(
            "EXISTS (SELECT 1 FROM refused_notifications AS r
                     WHERE r.merchant = $1 AND r.hash = $2 AND NOT (",
            is_over!("r"),
            "))"
        )
    };
}

const IS_NEEDED_BODY: &str = concat!("SELECT 1 AS found WHERE ", is_needed_body!());
// The body first: it goes only while nothing needs it, and what refers to it goes only after it.
const REMOVE_BODY: &str =
    concat!("DELETE FROM refused_bodies WHERE merchant = $1 AND hash = $2 AND NOT ", is_needed_body!());
const REMOVE_REFUSED: &str = "DELETE FROM refused_notifications WHERE merchant = $1 AND hash = $2
    AND NOT EXISTS (SELECT 1 FROM refused_bodies AS b WHERE b.merchant = $1 AND b.hash = $2)";

/// Bodies that were refused: they go, with the rows that refer to them.
pub async fn refused_bodies(store: &Store, payer: &Payer<'_>, key: &str) -> Result<Page, DbError> {
    let (merchant, hash) = key.split_once('/').unwrap_or_default();
    let sql = format!(
        "SELECT merchant, hash, body FROM refused_bodies
         WHERE (merchant, hash) > ($1, $2) AND created_at_ms <= $3 ORDER BY merchant, hash LIMIT {ROWS}"
    );
    let rows = store.db().reader().rows(&sql, [merchant.into(), hash.into(), payer.until.into()]).await?;
    let keys = rows.iter().map(|row| Ok((row.get::<String>("merchant")?, row.get::<String>("hash")?)));
    let keys = keys.collect::<Result<Vec<_>, DbError>>()?;
    let mut page = Page::after(rows.len(), keys.last().map(|(merchant, hash)| format!("{merchant}/{hash}")));
    for (row, (merchant, hash)) in rows.iter().zip(keys) {
        let is_of_payer = payer.is_payer_of(&row.get::<Vec<u8>>("body")?) && payer.is_of_merchant(&merchant);
        if !is_of_payer || !is_of_app(store, (&merchant, &hash), payer).await? {
            continue;
        }
        let needed = [merchant.as_str().into(), hash.as_str().into()];
        if store.db().reader().rows(IS_NEEDED_BODY, needed).await?.is_empty() {
            page.removes(REMOVE_BODY, [merchant.as_str().into(), hash.as_str().into()]);
            page.removes(REMOVE_REFUSED, [merchant.into(), hash.into()]);
        } else {
            page.found.push(Needed::Notifications);
        }
    }
    Ok(page)
}

/// Whether no order of another app has a body.
async fn is_of_app(store: &Store, (merchant, hash): (&str, &str), payer: &Payer<'_>) -> Result<bool, DbError> {
    let sql = "SELECT 1 AS found FROM refused_notifications AS r JOIN orders AS o ON o.id = r.order_id
               WHERE r.merchant = $1 AND r.hash = $2 AND o.app <> $3 LIMIT 1";
    let values = [merchant.into(), hash.into(), payer.app.as_str().into()];
    Ok(store.db().reader().rows(sql, values).await?.is_empty())
}

/// Samples of refused bodies.
pub async fn quarantine(store: &Store, payer: &Payer<'_>, key: &str) -> Result<Page, DbError> {
    let sql = format!(
        "SELECT id, merchant, body FROM quarantine WHERE id > $1 AND received_at_ms <= $2 ORDER BY id LIMIT {ROWS}"
    );
    let rows = store.db().reader().rows(&sql, [number(key).into(), payer.until.into()]).await?;
    let last = rows.last().map(|row| row.get::<i64>("id")).transpose()?;
    let mut page = Page::after(rows.len(), last.map(|id| id.to_string()));
    for row in &rows {
        let is_of_merchant = payer.is_of_merchant(&row.get::<String>("merchant")?);
        if is_of_merchant && payer.is_payer_of(&row.get::<Vec<u8>>("body")?) {
            page.removes("DELETE FROM quarantine WHERE id = $1", [row.get::<i64>("id")?.into()]);
        }
    }
    Ok(page)
}

/// Dead letters: they go where they were replayed or discarded.
pub async fn dead_letters(store: &Store, payer: &Payer<'_>, key: &str) -> Result<Page, DbError> {
    let sql = format!(
        "SELECT id, subject, payload, state FROM dead_letters WHERE id > $1 AND parked_at_ms <= $2
         ORDER BY id LIMIT {ROWS}"
    );
    let rows = store.db().reader().rows(&sql, [number(key).into(), payer.until.into()]).await?;
    let last = rows.last().map(|row| row.get::<i64>("id")).transpose()?;
    let mut page = Page::after(rows.len(), last.map(|id| id.to_string()));
    for row in &rows {
        if !payer.is_payer_of_message(&row.get::<String>("subject")?, &row.get::<Vec<u8>>("payload")?) {
            continue;
        }
        if row.get::<String>("state")? == "parked" {
            page.found.push(Needed::DeadLetters);
        } else {
            let sql = "DELETE FROM dead_letters WHERE id = $1 AND state <> 'parked'";
            page.removes(sql, [row.get::<i64>("id")?.into()]);
        }
    }
    Ok(page)
}

/// Messages that were put off. They are few, and are read at once.
pub async fn deferred(store: &Store, payer: &Payer<'_>) -> Result<Page, DbError> {
    let rows = store.db().reader().rows("SELECT subject, payload FROM deferred", []).await?;
    needed(&rows, payer, Page::default())
}

/// Messages of the embedded queue that are not handled yet; those that are were emptied.
pub async fn queue(store: &Store, payer: &Payer<'_>, key: &str) -> Result<Page, DbError> {
    let sql = format!(
        "SELECT seq, subject, payload FROM bus_messages WHERE seq > $1 AND published_at_ms <= $2
         ORDER BY seq LIMIT {ROWS}"
    );
    let rows = store.db().reader().rows(&sql, [number(key).into(), payer.until.into()]).await?;
    let last = rows.last().map(|row| row.get::<i64>("seq")).transpose()?;
    let page = Page::after(rows.len(), last.map(|seq| seq.to_string()));
    needed(&rows, payer, page)
}

fn needed(rows: &[Row], payer: &Payer<'_>, mut page: Page) -> Result<Page, DbError> {
    for row in rows {
        if payer.is_payer_of_message(&row.get::<String>("subject")?, &row.get::<Vec<u8>>("payload")?) {
            page.found.push(Needed::Messages);
        }
    }
    Ok(page)
}
