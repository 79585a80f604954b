//! What an earlier version left behind when it was killed, restored to where it can go on.

use std::path::{Path, PathBuf};
use std::process::Command;

use sea_orm::{ConnectOptions, ConnectionTrait, Database};
use serde_json::Value;
use tempfile::TempDir;
use wxpay_worker::secret::random_text;

use crate::harness::db::TestDb;
use crate::harness::nats::{NatsServer, Version};
use crate::harness::setting;

/// The version that wrote it; `tests/upgrade/write-fixture.sh` writes one.
const FIXTURE: &str = "tests/upgrade/fixture-cea4513";

pub struct Fixture {
    pub db: TestDb,
    pub nats: Option<NatsServer>,
    /// The simulator's journal.
    pub journal: PathBuf,
    /// What was asked and answered, and what the browsers hold.
    pub manifest: Value,
    _folder: TempDir,
}

impl Fixture {
    /// SQLite, with the embedded queue in it.
    pub async fn embedded() -> Fixture {
        let files = TempDir::new().unwrap();
        unpack("embedded/wxpay.db.tar.gz", files.path());
        Fixture::with("embedded", TestDb::Sqlite(files), None)
    }

    /// PostgreSQL and NATS.
    pub async fn nats() -> Fixture {
        let server = setting("WXPAY_TEST_POSTGRES");
        let name = format!("wxpay_test_{}", random_text(16).to_lowercase());
        let admin = Database::connect(&server).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        admin.close().await.unwrap();
        let db = TestDb::Postgres { server, name };
        // The dump sets the search path of its connection.
        let restoring = Database::connect(ConnectOptions::new(db.url()).max_connections(1).to_owned()).await.unwrap();
        let dump = std::fs::read_to_string(path("nats/wxpay.sql")).unwrap();
        restoring.execute_unprepared(&dump).await.unwrap();
        restoring.close().await.unwrap();
        let store = TempDir::new().unwrap();
        unpack("nats/nats.tar.gz", store.path());
        Fixture::with("nats", db, Some(NatsServer::start_on(Version::New, store)))
    }

    fn with(kind: &str, db: TestDb, nats: Option<NatsServer>) -> Fixture {
        let folder = TempDir::new().unwrap();
        let journal = folder.path().join("wechat.jsonl");
        std::fs::copy(path(kind).join("wechat.jsonl"), &journal).unwrap();
        let manifest = std::fs::read(path(kind).join("manifest.json")).unwrap();
        Fixture { db, nats, journal, manifest: serde_json::from_slice(&manifest).unwrap(), _folder: folder }
    }

    /// The simulator posts to the new address in place of the old one. Signatures over the old address stay.
    pub fn move_to(&self, base: &str) {
        let journal = std::fs::read_to_string(&self.journal).unwrap();
        let old = format!("\"notify_url\":\"{}/", self.manifest["base"].as_str().unwrap());
        assert!(journal.contains(&old), "the journal names no address");
        std::fs::write(&self.journal, journal.replace(&old, &format!("\"notify_url\":\"{base}/"))).unwrap();
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(FIXTURE).join(name)
}

fn unpack(archive: &str, to: &Path) {
    let status = Command::new("tar").arg("-xzf").arg(path(archive)).arg("-C").arg(to).status().unwrap();
    assert!(status.success(), "{archive}: {status}");
}
