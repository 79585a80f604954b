//! The database: what is true on our side. Knows no WeChat, bus or web.

pub(crate) mod bus_rows;
mod db;

pub use db::{Db, DbError, DbKind};
