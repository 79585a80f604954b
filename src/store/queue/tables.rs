//! The handle of the embedded bus's tables.

use sea_orm::{Statement, Value};

use crate::store::{Db, DbKind};

/// The embedded bus's tables.
#[derive(Debug, Clone)]
pub struct BusRows {
    pub(super) db: Db,
}

impl BusRows {
    /// On a migrated database.
    pub fn new(db: Db) -> BusRows {
        BusRows { db }
    }

    /// Which database it is.
    pub fn kind(&self) -> DbKind {
        self.db.kind()
    }

    pub(super) fn sql(&self, sql: String, values: Vec<Value>) -> Statement {
        self.db.statement(sql, values)
    }
}
