//! The database schema, step by step, for SQLite and PostgreSQL alike.
//!
//! A step is written once in SQL both understand; the few words that differ are named in [`dialect`]. A step adds,
//! and takes away at most what no statement of a version that may run beside it reads (an index), or what it puts
//! another in the place of: an old process must be able to work on a new schema while a deployment rolls.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};

pub mod dialect;
mod schema_1;
mod schema_2;
mod schema_3;
mod schema_4;
mod schema_5;

/// All steps, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(schema_1::m20261122_000001_core::Migration),
            Box::new(schema_1::m20261122_000002_bus::Migration),
            Box::new(schema_1::m20261122_000003_web::Migration),
            Box::new(schema_1::m20261122_000004_settling::Migration),
            Box::new(schema_1::m20261122_000005_refunds::Migration),
            Box::new(schema_1::m20261122_000006_token_source::Migration),
            Box::new(schema_1::m20261122_000007_open_calls::Migration),
            Box::new(schema_1::m20261122_000008_orphans::Migration),
            Box::new(schema_2::m20261128_000001_payments::Migration),
            Box::new(schema_2::m20261128_000009_said::Migration),
            Box::new(schema_2::m20261128_000010_feed::Migration),
            Box::new(schema_2::m20261128_000011_refund_targets::Migration),
            Box::new(schema_2::m20261128_000021_refunded_elsewhere::Migration),
            Box::new(schema_2::m20261129_000020_call_rates::Migration),
            Box::new(schema_2::m20261129_000030_refunds_of_no_order::Migration),
            Box::new(schema_2::m20261129_000040_merchant_faults::Migration),
            Box::new(schema_2::m20261129_000050_retention::Migration),
            Box::new(schema_3::m20261130_000010_refund_caps::Migration),
            Box::new(schema_3::m20261130_000020_packed::Migration),
            Box::new(schema_3::m20261130_000030_operations::Migration),
            Box::new(schema_3::m20261130_000040_replays::Migration),
            Box::new(schema_3::m20261130_000050_history::Migration),
            Box::new(schema_3::m20261130_000060_console::Migration),
            Box::new(schema_3::m20261130_000070_api_keys::Migration),
            Box::new(schema_3::m20261130_000080_merchant_health::Migration),
            Box::new(schema_3::m20261130_000110_books::Migration),
            Box::new(schema_3::m20261130_000120_views::Migration),
            Box::new(schema_4::m20261201_000010_reconciliations::Migration),
            Box::new(schema_4::m20261201_000020_webhooks::Migration),
            Box::new(schema_4::m20261201_000030_book_checks::Migration),
            Box::new(schema_4::m20261201_000040_periods::Migration),
            Box::new(schema_4::m20261201_000050_bill_repairs::Migration),
            Box::new(schema_4::m20261201_000070_placing::Migration),
            Box::new(schema_4::m20261201_000080_repairs_end::Migration),
            Box::new(schema_4::m20261201_000090_ended_sessions::Migration),
            Box::new(schema_4::m20261201_000100_intake::Migration),
            Box::new(schema_4::m20261201_000120_approvals::Migration),
            Box::new(schema_4::m20261201_000121_webhook_formats::Migration),
            Box::new(schema_4::m20261201_000150_erasures::Migration),
            Box::new(schema_5::m20261202_000180_webhook_messages::Migration),
            Box::new(schema_5::m20261202_000190_ledger_closings::Migration),
            Box::new(schema_5::m20261202_000200_due_indexes::Migration),
            Box::new(schema_5::m20261202_000210_refund_moves::Migration),
            Box::new(schema_5::m20261202_000220_explained_days::Migration),
            Box::new(schema_5::m20261202_000230_plain_checks::Migration),
        ]
    }
}

/// The names of all steps, oldest first.
pub fn names() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

/// Applies what is missing; tells whether anything was. Several processes may start at once on an empty database: all
/// of it, the check for missing steps included, happens in one transaction at a time, under an advisory lock on
/// PostgreSQL and as the only writer on SQLite. Both undo a schema change that is not committed. `prelude` is what the
/// transaction begins with, where no session keeps it; `finally` is run in it at the end. On PostgreSQL it fails and
/// changes nothing where a table is in use for longer than two seconds, or was locked by writers in another order: it
/// may be repeated.
pub async fn up(db: &DatabaseConnection, prelude: Option<&str>, finally: Option<&str>) -> Result<bool, DbErr> {
    let postgres = db.get_database_backend() == DbBackend::Postgres;
    let mode = (!postgres).then_some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode: mode, ..TransactionOptions::default() };
    let tx = db.begin_with_options(options).await?;
    if let Some(prelude) = prelude {
        tx.execute_unprepared(prelude).await?;
    }
    if postgres {
        // The others wait for the whole of it, which may take longer than a statement usually may.
        tx.execute_unprepared("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0").await?;
        tx.execute_unprepared("SELECT pg_advisory_xact_lock(7722018)").await?;
    }
    let pending = !(postgres && is_complete(&tx).await?) && apply(&tx, postgres).await?;
    if let Some(statements) = finally {
        tx.execute_unprepared(statements).await?;
    }
    tx.commit().await?;
    Ok(pending)
}

/// Whether every step is there, read without the right to make a table, which [`Migrator`] needs even to read.
async fn is_complete(tx: &DatabaseTransaction) -> Result<bool, DbErr> {
    let statement = |sql: &str| Statement::from_string(DbBackend::Postgres, sql);
    let exists = tx.query_one_raw(statement("SELECT to_regclass('seaql_migrations') IS NOT NULL AS found")).await?;
    if !exists.map(|row| row.try_get::<bool>("", "found")).transpose()?.unwrap_or(false) {
        return Ok(false);
    }
    let rows = tx.query_all_raw(statement("SELECT version FROM seaql_migrations")).await?;
    let applied = rows.iter().map(|row| row.try_get::<String>("", "version")).collect::<Result<Vec<_>, _>>()?;
    Ok(names().iter().all(|name| applied.contains(name)))
}

async fn apply(tx: &DatabaseTransaction, postgres: bool) -> Result<bool, DbErr> {
    // Not `get_pending_migrations`: a step of a later version that is there already is no error. That version may run
    // beside this one, and its steps only add.
    let applied = Migrator::get_migration_models(tx).await?;
    let is_applied = |step: &dyn MigrationTrait| applied.iter().any(|done| done.version == step.name());
    let pending = !Migrator::migrations().iter().all(|step| is_applied(step.as_ref()));
    if pending {
        if postgres {
            // Writers of the version before wait behind a step that waits for its table.
            tx.execute_unprepared("SET LOCAL lock_timeout = '2s'").await?;
        }
        Migrator::up(tx, None).await?;
    }
    Ok(pending)
}
