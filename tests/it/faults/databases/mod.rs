//! The database is lost, restarted, full or locked.

mod isolation;
pub mod limits;
mod pgbouncer;
mod postgres_lost;
mod postgres_restarted;
mod silent_host;
mod sqlite_stuck;
mod standby;
