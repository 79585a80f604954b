//! The database connection: one API over SQLite and PostgreSQL.

mod arrays;
mod changes;
mod connection;
mod deadline;
mod error;
mod file_changes;
mod inspect;
mod kind;
mod postgres;
mod roles;

pub(in crate::store) use arrays::{array, array_type};
pub use changes::{Polls, Probe};
pub use connection::{Db, DbHealth};
pub(in crate::store) use deadline::Deadline;
pub use error::DbError;
pub(in crate::store) use file_changes::FileWatch;
pub(in crate::store) use inspect::read_only;
pub use inspect::{DbFindings, IntakeFindings, inspect_database, inspect_intake};
pub use kind::DbKind;
pub(in crate::store) use kind::placeholders;
