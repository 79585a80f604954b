//! A copy of a SQLite file as of one moment, made while processes write to it.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::connection::BUSY_TIMEOUT;

/// Why there is no copy, or none that is good.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the path is not UTF-8")]
    Path,
    #[error("SQLite: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("the copy is damaged: {0}")]
    Damaged(String),
}

/// What is in a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The newest step of its schema.
    pub schema: String,
    /// The last position of the feed.
    pub feed_position: i64,
}

/// Copies what is committed at this moment into a file that is empty. Others go on reading and writing; their log grows
/// until the copy is made.
pub(in crate::store) fn snapshot(file: &Path, into: &Path) -> Result<(), SnapshotError> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let into = into.to_str().ok_or(SnapshotError::Path)?;
    connection.execute("VACUUM INTO ?1", [into])?;
    Ok(())
}

/// Reads all of a copy.
pub(in crate::store) fn examine(copy: &Path) -> Result<Contents, SnapshotError> {
    let connection = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if found != "ok" {
        return Err(SnapshotError::Damaged(found));
    }
    let schema = connection.query_row("SELECT MAX(version) FROM seaql_migrations", [], |row| row.get(0))?;
    let feed_position = connection.query_row("SELECT last_position FROM feed", [], |row| row.get(0))?;
    Ok(Contents { schema, feed_position })
}
