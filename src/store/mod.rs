//! The database: what is true on our side. Knows no WeChat, bus or web.

mod db;

pub use db::{Db, DbError, DbKind};
