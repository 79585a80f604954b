//! Databases of a test's own: a SQLite file, or a fresh database on the test server. Gone afterwards.

use sea_orm::{ConnectionTrait, Database};
use tempfile::TempDir;
use wxpay_worker::config;
use wxpay_worker::secret::{Secret, random_text};
use wxpay_worker::store::Db;

use super::setting;

/// A database that exists as long as this value.
pub enum TestDb {
    Sqlite(TempDir),
    Postgres { server: String, name: String },
}

impl TestDb {
    pub fn sqlite() -> TestDb {
        TestDb::Sqlite(TempDir::new().unwrap())
    }

    pub async fn postgres() -> TestDb {
        TestDb::postgres_on(setting("WXPAY_TEST_POSTGRES")).await
    }

    /// On the server at this address.
    pub async fn postgres_on(server: String) -> TestDb {
        let name = format!("wxpay_test_{}", random_text(16).to_lowercase());
        let admin = Database::connect(&server).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
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
        config::Store { url: Secret::new(self.url()), max_connections: 8, migrate_on_start: true }
    }

    /// Opens it once more, as another process would.
    pub async fn open(&self) -> Db {
        let db = Db::connect(&self.settings()).await.unwrap();
        db.migrate().await.unwrap();
        db
    }
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

/// `postgres://user@host/any?options` with another database.
fn database_of(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').map_or((server, String::new()), |(a, o)| (a, format!("?{o}")));
    let after_scheme = address.find("://").map_or(0, |at| at + 3);
    let end = address[after_scheme..].find('/').map_or(address.len(), |at| after_scheme + at);
    format!("{}/{name}{options}", &address[..end])
}
