//! Why the database did not do what it was asked, distinguished by both drivers' codes.

use std::borrow::Cow;

use sea_orm::DbErr;
use sea_orm::sqlx;

/// What to do about a pooler that shares connections between transactions.
pub(super) const MEND: &str = "a pooler hands the connection to other clients after each transaction (PgBouncer in \
                               transaction mode): set store.statement_cache = 0";

/// 55P03: a lock was not given in time (`lock_timeout`). 57014: the statement took too long (`statement_timeout`), or
/// an operator cancelled it.
const OF_ONE_STATEMENT: [&str; 2] = ["55P03", "57014"];

/// 42883: there is no such function. 42501: this role may not call it. 0A000: this server has it and supports it not.
const REFUSED: [&str; 3] = ["42883", "42501", "0A000"];

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Not reachable, locked, out of space, cut off: the same call may succeed later.
    #[error("database not available{}", said(.0))]
    Unavailable(#[source] DbErr),
    /// A unique rule says the row exists already.
    #[error("a row with this key exists")]
    Exists(#[source] DbErr),
    /// The rows do not say what this version of the program understands, or a constraint was broken: a defect.
    #[error("database refused: {0}")]
    Defect(String),
}

impl From<DbErr> for DbError {
    fn from(e: DbErr) -> DbError {
        match e.sql_err() {
            Some(sea_orm::SqlErr::UniqueConstraintViolation(_)) => DbError::Exists(e),
            _ if is_unique_violation(&e) => DbError::Exists(e),
            Some(sea_orm::SqlErr::ForeignKeyConstraintViolation(_)) => DbError::Defect(e.to_string()),
            // `SqlErr` is marked non-exhaustive; what it does not name is distinguished by the SQLSTATE alone.
            _ if is_check_violation(&e) => DbError::Defect(e.to_string()),
            _ => match unstorable(&e) {
                // Without the database's text, which may quote the value.
                Some(code) => DbError::Defect(format!("a value that cannot be stored, SQLSTATE {code}")),
                None => DbError::Unavailable(e),
            },
        }
    }
}

impl DbError {
    /// Whether PostgreSQL says that the server or the transaction is at fault, not the row: no room or connections
    /// (53), its state (55), an operator's intervention (57), a rollback (40), the connection (08). Not where it is
    /// [`DbError::is_of_one_statement`].
    pub fn is_of_the_server(&self) -> bool {
        let is_class = |code: &str| code.len() == 5 && ["53", "55", "57", "40", "08"].contains(&&code[..2]);
        self.state().is_some_and(|code| is_class(&code) && !OF_ONE_STATEMENT.contains(&code.as_ref()))
    }

    /// Whether PostgreSQL gave up a statement alone: a lock on one of its rows was not given in time, or it took too
    /// long. The server takes others.
    pub fn is_of_one_statement(&self) -> bool {
        self.state().is_some_and(|code| OF_ONE_STATEMENT.contains(&code.as_ref()))
    }

    /// Whether the server lacks what a statement calls, or refuses it to this role.
    pub(in crate::store) fn is_refusal(&self) -> bool {
        self.state().is_some_and(|code| REFUSED.contains(&code.as_ref()))
    }

    /// The driver's code of why it is not available.
    fn state(&self) -> Option<Cow<'_, str>> {
        let DbError::Unavailable(DbErr::Conn(e) | DbErr::Exec(e) | DbErr::Query(e)) = self else { return None };
        let sea_orm::RuntimeErr::SqlxError(sqlx) = e else { return None };
        sqlx.as_database_error()?.code()
    }
}

/// Why it is not available, in words that quote no value: SQLite's name no more than columns, of PostgreSQL's only the
/// SQLSTATE is taken.
fn said(e: &DbErr) -> String {
    let runtime = match e {
        DbErr::Conn(e) | DbErr::Exec(e) | DbErr::Query(e) => e,
        DbErr::ConnectionAcquire(sea_orm::ConnAcquireErr::Timeout) => return ": no connection in time".to_owned(),
        _ => return String::new(),
    };
    let sea_orm::RuntimeErr::SqlxError(sqlx) = runtime else { return String::new() };
    match sqlx.as_ref() {
        sqlx::Error::Database(e) => match e.code() {
            Some(state) if matches!(state.as_ref(), "42P05" | "26000") => format!(": SQLSTATE {state}: {MEND}"),
            Some(state) if state.len() == 5 => format!(": SQLSTATE {state}"),
            Some(_) | None => format!(": {}", e.message()),
        },
        sqlx::Error::Io(e) => format!(": {}", e.kind()),
        sqlx::Error::Tls(_) => ": TLS could not be agreed on".to_owned(),
        sqlx::Error::Protocol(_) => ": it does not speak as expected".to_owned(),
        _ => String::new(),
    }
}

/// Of the writer on SQLite, whose errors `SqlErr` does not know: 1555 is SQLITE_CONSTRAINT_PRIMARYKEY, 2067 _UNIQUE.
fn is_unique_violation(e: &DbErr) -> bool {
    let DbErr::Exec(sea_orm::RuntimeErr::SqlxError(sqlx)) = e else { return false };
    let code = sqlx.as_database_error().and_then(|d| d.code());
    code.is_some_and(|code| matches!(code.as_ref(), "1555" | "2067"))
}

fn is_check_violation(e: &DbErr) -> bool {
    let runtime = match e {
        DbErr::Exec(e) | DbErr::Query(e) => e,
        _ => return matches!(e, DbErr::Type(_) | DbErr::TryIntoErr { .. } | DbErr::ConvertFromU64(_)),
    };
    let sea_orm::RuntimeErr::SqlxError(sqlx) = runtime else { return false };
    // 275: SQLITE_CONSTRAINT_CHECK, 787: _FOREIGNKEY, 1811: _TRIGGER; class 23/P0: PostgreSQL's integrity and raised
    // errors.
    sqlx.as_database_error().and_then(|d| d.code()).is_some_and(|code| {
        matches!(
            code.as_ref(),
            "275" | "787" | "1811" | "23514" | "23502" | "1299" | "P0001" | "42703" | "42P01" | "42601"
        )
    })
}

/// PostgreSQL's state when a value itself is refused, such as a NUL character in a text: class 22, and 54 for a limit
/// of the program. SQLite's codes are shorter.
fn unstorable(e: &DbErr) -> Option<String> {
    let (DbErr::Exec(sea_orm::RuntimeErr::SqlxError(sqlx)) | DbErr::Query(sea_orm::RuntimeErr::SqlxError(sqlx))) = e
    else {
        return None;
    };
    let code = sqlx.as_database_error()?.code()?;
    (code.len() == 5 && (code.starts_with("22") || code.starts_with("54"))).then(|| code.into_owned())
}
