//! Connections to PostgreSQL: with the settings that money needs, which are not the driver's default.
//!
//! They are given to each session when it begins. A pooler in transaction mode (PgBouncer) has no sessions: each
//! transaction may meet another one. With `store.statement_cache = 0` every transaction therefore begins with the
//! settings, and nothing is kept beyond it: no prepared statement, no setting, no lock. Without, such a pooler is
//! recognised and refused.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{Connection, Executor, Row};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, RuntimeErr};

use super::deadline::Deadline;
use super::error::{DbError, MEND};
use super::kind::DbKind;

/// How long a connection is used. After a switchover the old primary may stay up and refuse every write: a process
/// still connected to it finds the new primary by reconnecting.
const CONNECTION_LIFE: Duration = Duration::from_secs(45);

const SYNCHRONOUS_COMMIT: (&str, &str) = ("synchronous_commit", "on");
const LOCK_TIMEOUT: (&str, &str) = ("lock_timeout", "5s");
const SETTINGS: [(&str, &str); 4] =
    [SYNCHRONOUS_COMMIT, ("statement_timeout", "15s"), LOCK_TIMEOUT, ("idle_in_transaction_session_timeout", "30s")];

/// A statement sees what others committed before it: writes read again behind a lock that they waited for. A role or a
/// database may have another default.
const ISOLATION: (&str, &str) = ("default_transaction_isolation", "read committed");

/// How each transaction begins behind a pooler. The driver numbers its statements per connection, so another client's
/// may have these names in the session that this transaction meets. The isolation comes first: it is only taken before
/// anything is read.
pub(super) static PRELUDE: LazyLock<String> = LazyLock::new(|| {
    let set = SETTINGS.map(|(name, value)| format!("; SET LOCAL {name} = '{value}'"));
    format!("SET TRANSACTION ISOLATION LEVEL READ COMMITTED; DEALLOCATE ALL{}", set.concat())
});

pub(super) async fn connect(
    url: &str,
    connections: u32,
    statement_cache: usize,
    deadline: &Deadline,
) -> Result<DatabaseConnection, DbError> {
    let pool = Database::connect(options(url, connections, statement_cache, deadline)).await.map_err(named)?;
    if statement_cache > 0 {
        deadline.bound(refuse_pooler(url, &pool)).await?;
    }
    Ok(pool)
}

/// One further connection, once it is used; of a server that [`connect`] found right.
pub(super) async fn connect_lazily(
    url: &str,
    statement_cache: usize,
    deadline: &Deadline,
) -> Result<DatabaseConnection, DbError> {
    let mut o = options(url, 1, statement_cache, deadline);
    o.connect_lazy(true);
    Database::connect(o).await.map_err(named)
}

fn options(url: &str, connections: u32, statement_cache: usize, deadline: &Deadline) -> ConnectOptions {
    let deadline = deadline.clone();
    let mut o = ConnectOptions::new(url);
    o.max_connections(connections)
        .acquire_timeout(Duration::from_secs(5))
        .connect_timeout(Duration::from_secs(5))
        .max_lifetime(CONNECTION_LIFE)
        // A ping before every use would double the round trips; one that just worked, works.
        .test_before_acquire_if_idle_for(Duration::from_secs(1))
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(move |o| {
            let o = o.application_name("wxpay-worker").statement_cache_capacity(statement_cache);
            // A pooler knows neither of these parameters and refuses the connection.
            if statement_cache == 0 { o.extra_float_digits(None) } else { o.options(SETTINGS).options([ISOLATION]) }
        })
        .map_sqlx_postgres_pool_opts(move |o| {
            let deadline = deadline.clone();
            o.after_release(move |connection, _| {
                let deadline = deadline.clone();
                Box::pin(async move { deadline.released(connection).await })
            })
        });
    o
}

/// Fails where two connections meet one session, or where the settings of a session do not hold.
async fn refuse_pooler(url: &str, pool: &DatabaseConnection) -> Result<(), DbError> {
    let failed = |e| DbErr::Conn(RuntimeErr::SqlxError(Arc::new(e)));
    let options: PgConnectOptions = url.parse().map_err(|e| DbError::from(failed(e)))?;
    let mut other = PgConnection::connect_with(&options).await.map_err(|e| named(failed(e)))?;
    // Unprepared, and its transaction ends with it; the connection stays open.
    let session = other.fetch_one("SELECT pg_backend_pid()").await.and_then(|row| row.try_get::<i32, _>(0));
    let session = session.map_err(|e| named(failed(e)))?;
    let sql = "SELECT pg_backend_pid() AS session, current_setting('lock_timeout') AS lock_timeout,
                 current_setting('synchronous_commit') AS synchronous_commit,
                 current_setting('transaction_isolation') AS isolation";
    let row = pool.query_one_raw(DbKind::Postgres.statement(sql, [])).await.map_err(named)?;
    let row = row.ok_or_else(|| DbError::Defect("no session".into()))?;
    if session == row.try_get::<i32>("", "session")? {
        return Err(DbError::Defect(MEND.into()));
    }
    let _ = other.close().await;
    let setting = |name: &str| row.try_get::<String>("", name);
    let (lock_timeout, synchronous_commit) = (setting("lock_timeout")?, setting("synchronous_commit")?);
    let isolation = setting("isolation")?;
    let wrong = match synchronous_commit.as_str() {
        "off" | "local" => Some(format!("synchronous_commit is {synchronous_commit}")),
        _ => (isolation != ISOLATION.1).then(|| format!("{} is {isolation}", ISOLATION.0)),
    };
    if let Some(wrong) = wrong {
        let text = format!("a pooler drops the settings of a session, and {wrong}: set store.statement_cache = 0");
        return Err(DbError::Defect(text));
    }
    if lock_timeout != LOCK_TIMEOUT.1 {
        tracing::warn!(
            "a pooler drops the settings of a session, among them the time limits of statements and locks: set \
             store.statement_cache = 0"
        );
    }
    Ok(())
}

/// A pooler's refusals, in words that say what to do.
fn named(e: DbErr) -> DbError {
    let (DbErr::Conn(RuntimeErr::SqlxError(sqlx))
    | DbErr::Query(RuntimeErr::SqlxError(sqlx))
    | DbErr::Exec(RuntimeErr::SqlxError(sqlx))) = &e
    else {
        return e.into();
    };
    let Some(database) = sqlx.as_database_error() else { return e.into() };
    match database.code().as_deref() {
        Some("42P05" | "26000") => DbError::Defect(MEND.into()),
        Some("08P01") if database.message().contains("startup parameter") => DbError::Defect(
            "a pooler refuses the settings of a session (PgBouncer): set store.statement_cache = 0".into(),
        ),
        _ => e.into(),
    }
}
