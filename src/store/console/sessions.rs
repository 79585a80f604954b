//! Sessions: opened by a login, found by the hash of the cookie, ended by their user, an administrator or time.

use std::time::Duration;

use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::types::{Access, ConsoleSession};
use super::users::access;
use crate::clock::Timestamp;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::WriteTx;

/// Sessions of one user that are open at once; the oldest ends when there is another one.
const MAX_OF_USER: i64 = 20;
/// How exact "last seen" is.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// A session to open.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub token_hash: String,
    pub user_id: i64,
    /// The password that was compared: a login that began before it was changed opens nothing.
    pub password_at: Timestamp,
    pub now: Timestamp,
    pub expires_at: Timestamp,
    pub remote_addr: String,
    pub user_agent: String,
}

const COLUMNS: &str = "s.id, s.user_id, s.created_at_ms, s.seen_at_ms, s.expires_at_ms, s.remote_addr, s.user_agent,
                       u.name, u.role, u.grants, u.merchants";

impl Store {
    /// Opens a session and writes the audit row; false where the user or its password is another one by now.
    pub async fn open_session(&self, session: &NewSession, audit: &AuditEntry) -> Result<bool, DbError> {
        let data = (session.clone(), audit.clone());
        self.db.write("console.session", data, |tx, (session, audit)| Box::pin(open(tx, session, audit))).await
    }

    /// The session with this hash that has not ended at `now`.
    pub async fn console_session(&self, hash: &str, now: Timestamp) -> Result<Option<ConsoleSession>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM console_sessions s JOIN console_users u ON u.id = s.user_id
             WHERE s.token_hash = $1 AND s.expires_at_ms > $2"
        );
        let row = self.db.read().query_one_raw(self.db.statement(sql, [hash.into(), now.as_ms().into()])).await?;
        row.as_ref().map(session_row).transpose()
    }

    /// The session with this number that has not ended at `now`.
    pub async fn console_session_numbered(&self, id: i64, now: Timestamp) -> Result<Option<ConsoleSession>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM console_sessions s JOIN console_users u ON u.id = s.user_id
             WHERE s.id = $1 AND s.expires_at_ms > $2"
        );
        let row = self.db.read().query_one_raw(self.db.statement(sql, [id.into(), now.as_ms().into()])).await?;
        row.as_ref().map(session_row).transpose()
    }

    /// Notes that a session is in use, at most once a minute.
    pub async fn session_seen(&self, session: &ConsoleSession, now: Timestamp) -> Result<(), DbError> {
        if now.since(session.seen_at) < SEEN_EVERY {
            return Ok(());
        }
        let sql = "UPDATE console_sessions SET seen_at_ms = $2 WHERE id = $1 AND seen_at_ms < $2";
        self.db.execute("console.seen", sql, [session.id.into(), now.as_ms().into()]).await?;
        Ok(())
    }

    /// Open sessions, of one user or of all, those used last first.
    pub async fn console_sessions(
        &self,
        user: Option<i64>,
        now: Timestamp,
        limit: u64,
    ) -> Result<Vec<ConsoleSession>, DbError> {
        let only = if user.is_some() { "AND s.user_id = $2" } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM console_sessions s JOIN console_users u ON u.id = s.user_id
             WHERE s.expires_at_ms > $1 {only} ORDER BY s.seen_at_ms DESC, s.id DESC LIMIT {limit}"
        );
        let values: Vec<Value> = [Some(now.as_ms().into()), user.map(Value::from)].into_iter().flatten().collect();
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        rows.iter().map(session_row).collect()
    }

    /// Ends a session, of this user or of any; false where there is none. The audit row is written with it.
    pub async fn end_session(&self, id: i64, user: Option<i64>, audit: &AuditEntry) -> Result<bool, DbError> {
        let data = (id, user, audit.clone());
        self.db.write("console.end", data, |tx, (id, user, audit)| Box::pin(end(tx, *id, *user, audit))).await
    }

    /// Forgets sessions that ended before `before`; at most `limit`, answers how many.
    pub async fn purge_console_sessions(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM console_sessions WHERE id IN (
                     SELECT id FROM console_sessions WHERE expires_at_ms < $1 LIMIT $2)";
        self.purge(sql, before, limit).await
    }
}

async fn open(tx: &WriteTx, new: &NewSession, audit: &AuditEntry) -> Result<bool, DbError> {
    // The user's row is locked by this: a change of the password that runs at the same time sees the session or ends
    // before it.
    let sql = "UPDATE console_users SET password_at_ms = password_at_ms WHERE id = $1 AND password_at_ms = $2";
    if tx.execute(sql, [new.user_id.into(), new.password_at.as_ms().into()]).await? == 0 {
        return Ok(false);
    }
    let sql = "DELETE FROM console_sessions WHERE user_id = $1 AND id NOT IN (
                 SELECT id FROM console_sessions WHERE user_id = $1 ORDER BY seen_at_ms DESC, id DESC LIMIT $2)";
    tx.execute(sql, [new.user_id.into(), (MAX_OF_USER - 1).into()]).await?;
    let sql = "INSERT INTO console_sessions
                 (token_hash, user_id, created_at_ms, seen_at_ms, expires_at_ms, remote_addr, user_agent)
               VALUES ($1, $2, $3, $3, $4, $5, $6)";
    let values = [
        new.token_hash.as_str().into(),
        new.user_id.into(),
        new.now.as_ms().into(),
        new.expires_at.as_ms().into(),
        new.remote_addr.as_str().into(),
        new.user_agent.as_str().into(),
    ];
    tx.execute(sql, values).await?;
    write_audit(tx, audit).await?;
    Ok(true)
}

async fn end(tx: &WriteTx, id: i64, user: Option<i64>, audit: &AuditEntry) -> Result<bool, DbError> {
    let ended = match user {
        Some(user) => {
            let sql = "DELETE FROM console_sessions WHERE id = $1 AND user_id = $2";
            tx.execute(sql, [id.into(), user.into()]).await?
        }
        None => tx.execute("DELETE FROM console_sessions WHERE id = $1", [id.into()]).await?,
    };
    if ended > 0 {
        write_audit(tx, audit).await?;
    }
    Ok(ended > 0)
}

fn session_row(row: &QueryResult) -> Result<ConsoleSession, DbError> {
    let time = |column: &str| row.try_get::<i64>("", column).map(Timestamp::from_ms);
    let access: Access =
        access(row.try_get("", "role")?, row.try_get("", "grants")?, row.try_get::<Option<String>>("", "merchants")?)?;
    Ok(ConsoleSession {
        id: row.try_get("", "id")?,
        user_id: row.try_get("", "user_id")?,
        user_name: row.try_get("", "name")?,
        access,
        created_at: time("created_at_ms")?,
        seen_at: time("seen_at_ms")?,
        expires_at: time("expires_at_ms")?,
        remote_addr: row.try_get("", "remote_addr")?,
        user_agent: row.try_get("", "user_agent")?,
    })
}
