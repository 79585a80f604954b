//! The database schema, step by step, for SQLite and PostgreSQL alike.
//!
//! A step is written once in SQL both understand; the few words that differ are named in [`dialect`]. Steps only ever
//! add: an old process must be able to work on a new schema while a deployment rolls.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{DatabaseConnection, DbBackend};

pub mod dialect;
mod m20261122_000001_core;
mod m20261122_000002_bus;

/// All steps, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_core::Migration), Box::new(m20261122_000002_bus::Migration)]
    }
}

/// Applies what is missing; tells whether anything was. Several processes may start at once: PostgreSQL serialises
/// them with an advisory lock, SQLite with its only writer.
pub async fn up(db: &DatabaseConnection) -> Result<bool, DbErr> {
    if Migrator::get_pending_migrations(db).await?.is_empty() {
        return Ok(false);
    }
    if db.get_database_backend() != DbBackend::Postgres {
        Migrator::up(db, None).await?;
        return Ok(true);
    }
    use sea_orm_migration::sea_orm::TransactionTrait;
    let lock = db.begin().await?;
    lock.execute_unprepared("SELECT pg_advisory_xact_lock(7722018)").await?;
    let pending = !Migrator::get_pending_migrations(db).await?.is_empty();
    if pending {
        Migrator::up(db, None).await?;
    }
    lock.commit().await?;
    Ok(pending)
}
