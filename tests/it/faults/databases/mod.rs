//! The database is lost, restarted, full or locked.

pub mod limits;
mod pgbouncer;
mod postgres_lost;
mod postgres_restarted;
mod sqlite_stuck;
mod standby;
