//! Two roles of PostgreSQL: the owner of the tables, who changes the schema, and the one that the service runs as.
//!
//! What must stay true: the service's role can neither change nor remove a row of the ledger, the evidence or the
//! audit, nor take away the triggers that refuse it to every role.

use sea_orm::{ConnectionTrait, DbErr, RuntimeErr};

use super::deadline::{DEADLINE, Deadline};
use super::error::DbError;
use super::kind::DbKind;
use super::postgres;
use crate::secret::Secret;
use crate::store::writer::ReadPool;

/// What the service's role may do; `deploy/postgres/roles.sh` runs the same.
const GRANTS: &str = include_str!("../../../deploy/postgres/grants.sql");

/// How the owner is reached.
#[derive(Debug)]
pub(super) struct Owner {
    url: Secret,
    statement_cache: usize,
}

impl Owner {
    pub fn new(url: Secret, statement_cache: usize) -> Owner {
        Owner { url, statement_cache }
    }
}

/// Brings the schema to the newest version as its owner, who gives the role of `service` its rights. Without an owner,
/// that role does it.
pub(super) async fn migrate(service: &ReadPool, owner: Option<&Owner>) -> Result<bool, DbError> {
    let Some(owner) = owner else { return service.migrate(None).await.map_err(refused) };
    let sql = "SELECT CAST(current_user AS TEXT) AS role";
    let row = service.query_one_raw(DbKind::Postgres.statement(sql, [])).await?;
    let role: String = row.ok_or_else(|| DbError::Defect("no role".into()))?.try_get("", "role")?;
    let grants = format!("SELECT set_config('wxpay.service', '{}', TRUE); {GRANTS}", role.replace('\'', "''"));
    let deadline = Deadline::new(DEADLINE);
    let pool = postgres::connect(owner.url.expose(), 1, owner.statement_cache, &deadline).await?;
    let prelude = (owner.statement_cache == 0).then(|| postgres::PRELUDE.as_str());
    let pool = ReadPool::new(pool, prelude, Some(deadline));
    let migrated = pool.migrate(Some(&grants)).await;
    pool.close().await?;
    Ok(migrated?)
}

/// A role that may not change the schema, in words that say which one may.
fn refused(e: DbErr) -> DbError {
    let (DbErr::Exec(RuntimeErr::SqlxError(sqlx)) | DbErr::Query(RuntimeErr::SqlxError(sqlx))) = &e else {
        return e.into();
    };
    let is_forbidden = sqlx.as_database_error().and_then(|d| d.code()).is_some_and(|code| code == "42501");
    if !is_forbidden {
        return e.into();
    }
    let text = "the schema is not up to date, and the role of store.url may not change it: run `wxpayd migrate` with \
                store.migrate_url, the address of its owner";
    DbError::Defect(text.into())
}
