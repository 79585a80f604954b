//! The handle of the embedded bus's tables.

use sea_orm::{Statement, Value};

use crate::store::{Db, Polls};

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

    /// When a consumer polls for deliveries.
    pub fn polls(&self) -> Polls {
        self.db.polls()
    }

    pub(super) fn sql(&self, sql: String, values: Vec<Value>) -> Statement {
        self.db.statement(sql, values)
    }
}
