//! The two databases, and where their SQL differs.

use sea_orm::{DbBackend, Statement, Value};

/// Which database this is; SQL differs in a few places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DbKind {
    /// A file on this machine.
    Sqlite,
    /// A server.
    Postgres,
}

impl DbKind {
    /// A statement of our own; parameters are written `$1`, `$2`, … for both databases.
    pub(in crate::store) fn statement(
        self,
        sql: impl Into<String>,
        values: impl IntoIterator<Item = Value>,
    ) -> Statement {
        Statement::from_sql_and_values(self.backend(), sql, values)
    }

    /// The database of a dialect.
    pub(in crate::store) fn of(backend: DbBackend) -> DbKind {
        match backend {
            DbBackend::Postgres => DbKind::Postgres,
            _ => DbKind::Sqlite,
        }
    }

    /// The dialect of SQL.
    pub(in crate::store) fn backend(self) -> DbBackend {
        match self {
            DbKind::Sqlite => DbBackend::Sqlite,
            DbKind::Postgres => DbBackend::Postgres,
        }
    }

    /// What follows a SELECT whose rows another process may be taking at this moment.
    pub(in crate::store) fn skip_locked(self) -> &'static str {
        match self {
            DbKind::Sqlite => "",
            DbKind::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// The expression of the database's own clock, in milliseconds: leases compare with this one, because the hosts'
    /// clocks may disagree.
    pub(in crate::store) fn now_ms_sql(self) -> &'static str {
        match self {
            DbKind::Sqlite => "CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
            DbKind::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
    }
}

/// `($1, $2), ($3, $4)` for rows of `columns` values, after `used` parameters.
pub(in crate::store) fn placeholders(rows: usize, columns: usize, used: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            if column > 0 {
                text.push(',');
            }
            text.push('$');
            text.push_str(&(used + row * columns + column + 1).to_string());
        }
        text.push(')');
    }
    text
}
