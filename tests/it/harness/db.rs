//! Databases of a test's own: a SQLite file, or a fresh database on the test server. Gone afterwards.
//!
//! Both are copies of a template that was migrated once: the migrations themselves are tested on empty databases.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use tempfile::TempDir;
use wxpay_worker::config;
use wxpay_worker::secret::{Secret, random_text, sha256_hex};
use wxpay_worker::store::{Db, DbError};

use super::{setting, within_timeout};

/// A database that exists as long as this value.
pub enum TestDb {
    Sqlite(TempDir),
    Postgres { server: String, name: String },
}

impl TestDb {
    pub fn sqlite() -> TestDb {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("wxpay.db");
        std::fs::write(&file, &*SQLITE_TEMPLATE).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        TestDb::Sqlite(folder)
    }

    pub fn empty_sqlite() -> TestDb {
        TestDb::Sqlite(TempDir::new().unwrap())
    }

    pub async fn postgres() -> TestDb {
        TestDb::postgres_on(setting("WXPAY_TEST_POSTGRES")).await
    }

    /// On the server at this address.
    pub async fn postgres_on(server: String) -> TestDb {
        let admin = Database::connect(&server).await.unwrap();
        let template = postgres_template(&admin, &server).await;
        // From version 15 on a copy goes through the log by default, at a hundred times the CPU time.
        let version = "SELECT current_setting('server_version_num')::int AS number";
        let version = admin.query_one_raw(Statement::from_string(DbBackend::Postgres, version)).await.unwrap().unwrap();
        let by_files = version.try_get::<i32>("", "number").unwrap() >= 150_000;
        let how = if by_files { "STRATEGY FILE_COPY" } else { "" };
        TestDb::created(admin, server, &format!("TEMPLATE {template} {how}")).await
    }

    pub async fn empty_postgres() -> TestDb {
        let server = setting("WXPAY_TEST_POSTGRES");
        TestDb::created(Database::connect(&server).await.unwrap(), server, "").await
    }

    async fn created(admin: DatabaseConnection, server: String, how: &str) -> TestDb {
        let name = format!("wxpay_test_{}", random_text(16).to_lowercase());
        // A vacuum of the server's own may be at the template.
        within_timeout("a database", async {
            while let Err(error) = admin.execute_unprepared(&format!("CREATE DATABASE {name} {how}")).await {
                assert!(error.to_string().contains("being accessed by other users"), "{error}");
            }
        })
        .await;
        admin.close().await.unwrap();
        TestDb::Postgres { server, name }
    }

    /// What `store.url` would be.
    pub fn url(&self) -> String {
        match self {
            TestDb::Sqlite(folder) => format!("sqlite://{}/wxpay.db", folder.path().display()),
            TestDb::Postgres { server, name } => database_of(server, name),
        }
    }

    pub fn settings(&self) -> config::Store {
        settings(self.url())
    }

    /// Opens it once more, as another process would.
    pub async fn open(&self) -> Db {
        let db = connected(&self.settings()).await;
        db.migrate().await.unwrap();
        db
    }
}

/// Connects; a busy machine may take longer than the service waits for a connection.
pub async fn connected(settings: &config::Store) -> Db {
    within_timeout("a connection to the database", async {
        loop {
            match Db::connect(settings).await {
                Ok(db) => return db,
                Err(error) => assert!(matches!(error, DbError::Unavailable(_)), "{error}"),
            }
        }
    })
    .await
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let TestDb::Postgres { server, name } = self else { return };
        let (server, name) = (server.clone(), name.clone());
        // A runtime of its own: the test's may be gone, and drop cannot await.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin = Database::connect(&server).await.unwrap();
                admin.execute_unprepared(&format!("DROP DATABASE {name} WITH (FORCE)")).await.unwrap();
            });
        });
        let _ = dropping.join();
    }
}

fn settings(url: String) -> config::Store {
    let lease = std::time::Duration::from_secs(10);
    config::Store {
        url: Secret::new(url),
        migrate_url: None,
        payer_key: None,
        allow_unverified_tls: false,
        max_connections: 8,
        migrate_on_start: true,
        statement_cache: 100,
        compact: false,
        lease,
    }
}

/// The bytes of a migrated file. Made in a thread of its own: the tests' runtimes come and go.
static SQLITE_TEMPLATE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let making = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let db = TestDb::empty_sqlite();
        runtime.block_on(async { db.open().await.read().clone().close().await.unwrap() });
        let TestDb::Sqlite(folder) = &db else { unreachable!("on SQLite") };
        let file = folder.path().join("wxpay.db");
        // The writer's connection may still be open: the log moves into the file by request, not with its last user.
        let other = rusqlite::Connection::open(&file).unwrap();
        let busy: i64 = other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0, "the template is not in one file");
        std::fs::read(file).unwrap()
    });
    making.join().unwrap()
});

/// The name of this server's migrated database, which nothing connects to. It is made when it is missing; another
/// version of the migrations has another name.
async fn postgres_template(admin: &DatabaseConnection, server: &str) -> String {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/src");
        let entries = |folder: &Path| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (folders, mut files): (Vec<_>, Vec<_>) = entries(&folder).partition(|path| path.is_dir());
        files.extend(folders.iter().flat_map(|folder| entries(folder)));
        files.sort();
        let all: Vec<u8> = files.iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
        format!("wxpay_template_{}", &sha256_hex(&all)[..16])
    });
    let exists = format!("SELECT 1 AS found FROM pg_database WHERE datname = '{}'", *NAME);
    let exists = || admin.query_one_raw(Statement::from_string(DbBackend::Postgres, exists.clone()));
    if exists().await.unwrap().is_none() {
        // Other test programs may use the same server. The lock ends with its connection.
        let lock = Database::connect(ConnectOptions::new(server).max_connections(1).to_owned()).await.unwrap();
        lock.execute_unprepared("SELECT pg_advisory_lock(7722019)").await.unwrap();
        if exists().await.unwrap().is_none() {
            let new = format!("{}_new", *NAME);
            admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {new} WITH (FORCE)")).await.unwrap();
            admin.execute_unprepared(&format!("CREATE DATABASE {new}")).await.unwrap();
            let db = Db::connect(&settings(database_of(server, &new))).await.unwrap();
            db.migrate().await.unwrap();
            db.read().clone().close().await.unwrap();
            admin.execute_unprepared(&format!("ALTER DATABASE {new} RENAME TO {}", *NAME)).await.unwrap();
        }
        lock.close().await.unwrap();
    }
    NAME.clone()
}

/// `postgres://user@host/any?options` with another database.
fn database_of(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').map_or((server, String::new()), |(a, o)| (a, format!("?{o}")));
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let end = address[after_scheme..].find('/').map_or(address.len(), |at| after_scheme + at);
    format!("{}/{name}{options}", &address[..end])
}
