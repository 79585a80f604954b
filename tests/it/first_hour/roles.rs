//! PostgreSQL with two roles: the owner changes the schema, and the service can neither change nor remove a row of the
//! ledger, the evidence or the audit. The roles are made by `deploy/postgres/roles.sh`.

use std::process::{Command, Output};

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use serde_json::json;
use tempfile::TempDir;
use wxpay_worker::clock::Clock;
use wxpay_worker::config;
use wxpay_worker::sandbox::Settings;
use wxpay_worker::secret::{Secret, random_text};
use wxpay_worker::store::{Db, Kept, Store};

use crate::harness::db::TestDb;
use crate::harness::service::{OPENID, Processes, TestService};
use crate::harness::{setting, within_timeout};

const APPEND_ONLY: [&str; 5] = ["ledger", "refund_ledger", "evidence", "refund_evidence", "audit"];
const ALL_ROLES: &str = "ingress,worker,relay,scheduler";

/// Two roles of a database, by their addresses.
struct TwoRoles {
    folder: TempDir,
    service: String,
    owner: String,
    admin: String,
}

impl TwoRoles {
    /// Names for a database, which no role has yet.
    fn of(db: &TestDb) -> TwoRoles {
        let admin = db.url();
        let role = |kind: &str| {
            let name = format!("{kind}_{}", random_text(12).to_lowercase());
            with_login(&admin, &name, &random_text(24))
        };
        TwoRoles { folder: tempfile::tempdir().unwrap(), service: role("service"), owner: role("owner"), admin }
    }

    /// The script, as an administrator runs it.
    fn make(&self) -> Output {
        let file = |name: &str, text: &str| {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (login, address) = parts(&self.admin);
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (host, port) = address.split('/').next().unwrap().rsplit_once(':').unwrap();
        let path = format!("{}:{}", setting("WXPAY_TEST_POSTGRES_BIN"), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.arg(crate::deploy::root().join("deploy/postgres/roles.sh"));
        command.arg(file("store_url", &self.service)).arg(file("migrate_url", &self.owner));
        command.envs([("PATH", path.as_str()), ("PGHOST", host), ("PGPORT", port), ("PGUSER", user)]);
        command.env("PGPASSWORD", password).output().unwrap()
    }

    fn made(&self) {
        let output = self.make();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        for url in [&self.service, &self.owner] {
            let password = parts(url).0.split_once(':').unwrap().1;
            assert!(!said.contains(password), "a password is printed");
        }
    }

    fn settings(&self, db: &TestDb) -> config::Store {
        let (url, owner) = (Secret::new(self.service.as_str()), Some(Secret::new(self.owner.as_str())));
        config::Store { url, migrate_url: owner, ..db.settings() }
    }

    fn section(&self) -> String {
        format!("[store]\nurl = \"{}\"\nmigrate_url = \"{}\"\n", self.service, self.owner)
    }

    async fn as_service(&self) -> DatabaseConnection {
        Database::connect(&self.service).await.unwrap()
    }

    async fn as_admin(&self) -> DatabaseConnection {
        Database::connect(&self.admin).await.unwrap()
    }
}

/// A refund takes three seconds.
fn fast() -> Settings {
    Settings { time_scale: 100, ..Settings::default() }
}

/// Login and the rest of an address.
fn parts(url: &str) -> (&str, &str) {
    url.split_once("://").unwrap().1.split_once('@').unwrap()
}

fn with_login(url: &str, user: &str, password: &str) -> String {
    format!("postgres://{user}:{password}@{}", parts(url).1)
}

async fn one(db: &DatabaseConnection, sql: &str) -> i64 {
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap().unwrap();
    row.try_get_by_index(0).unwrap()
}

/// What the service's role must not do, each refused by PostgreSQL itself and not by a trigger.
async fn assert_protected(roles: &TwoRoles) {
    let service = roles.as_service().await;
    for table in APPEND_ONLY {
        assert!(one(&service, &format!("SELECT COUNT(*) FROM {table}")).await >= 0);
        for sql in [
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("UPDATE {table} SET id = id"),
            format!("ALTER TABLE {table} DISABLE TRIGGER ALL"),
            format!("DROP TABLE {table}"),
        ] {
            let refused = service.execute_unprepared(&sql).await.expect_err(&sql).to_string();
            assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{sql}: {refused}");
        }
    }
    for sql in [
        "CREATE TABLE own (id BIGINT)",
        "DELETE FROM seaql_migrations",
        "CREATE OR REPLACE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql
         AS $$ BEGIN RETURN NEW; END $$",
    ] {
        let refused = service.execute_unprepared(sql).await.expect_err(sql).to_string();
        assert!(refused.contains("permission denied") || refused.contains("must be owner"), "{sql}: {refused}");
    }
}

/// An order that is paid, and of which a part is given back.
async fn paid_and_refunded(service: &Processes, base: &str, order_no: &str) {
    service.place(base, order_no, 100).await;
    service.pay(order_no).await;
    service.until_state(base, order_no, "paid").await;
    let body = json!({"refund_no": format!("{order_no}-R"), "amount_fen": 30, "reason": "asked"});
    let path = format!("/v1/orders/{order_no}/refunds?merchant=main");
    let (status, answer) = service.post(base, &path, &body).await;
    assert!(status < 300, "{answer}");
    within_timeout("the refund", async {
        loop {
            let (_, refund) = service.get(base, &format!("/v1/refunds/{order_no}-R?merchant=main&refresh=1")).await;
            if refund["state"] == "succeeded" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_of_one_role_is_moved_and_its_service_runs_without_owning_anything() {
    let db = TestDb::postgres().await;
    let roles = TwoRoles::of(&db);
    roles.made();
    let settings = roles.settings(&db);
    let service = TestService::new().on(db).refunds().simulator(fast()).config(&roles.section()).processes().await;
    let process = service.run_all().await;
    paid_and_refunded(&service, &process.base, "ROLE0001").await;
    service.until_drained().await;
    assert_protected(&roles).await;
    let admin = roles.as_admin().await;
    assert!(one(&admin, "SELECT COUNT(*) FROM ledger").await > 0);
    assert!(one(&admin, "SELECT COUNT(*) FROM refund_ledger").await > 0);

    drop(process);
    service.finish().await;

    // Retention: everything else goes, the audit stays, and no step fails.
    let store = Store::open(&settings).await.unwrap();
    let years = "INSERT INTO audit (at_ms, actor, remote_addr, action, merchant, result)
                 VALUES (1000000000000, 'old', '', 'a', 'main', 'r')";
    admin.execute_unprepared(years).await.unwrap();
    let sample = "INSERT INTO quarantine (merchant, reason, remote_addr, received_at_ms, body)
                  VALUES ('main', 'old', '', 1000000000000, '')";
    admin.execute_unprepared(sample).await.unwrap();
    let now = Clock::system().now();
    for &kept in Kept::ALL {
        store.remove_expired(kept, None, now).await.unwrap_or_else(|e| panic!("{}: {e}", kept.as_str()));
    }
    assert_eq!(one(&admin, "SELECT COUNT(*) FROM quarantine").await, 0);
    assert_eq!(one(&admin, "SELECT COUNT(*) FROM audit WHERE actor = 'old'").await, 1);

    // Evidence of the version before: the owner replaces its openids, the service's role cannot.
    let old = format!(
        "INSERT INTO evidence (order_id, version, out_trade_no, source, source_id, fact, received_at_ms,
                               recorded_at_ms)
         SELECT id, 9000, order_no, 'query', order_no, '{{\"fact\":\"paid\",\"openid\":\"{OPENID}\"}}', 1, 1
         FROM orders"
    );
    admin.execute_unprepared(&old).await.unwrap();
    store.hide_payers(0).await.unwrap_err();
    let plain = format!("SELECT COUNT(*) FROM evidence WHERE fact LIKE '%{OPENID}%'");
    assert_eq!(one(&admin, &plain).await, 1);
    let owner = Store::open(&settings.of_owner()).await.unwrap();
    assert_eq!(owner.hide_payers(0).await.unwrap().changed, 1);
    assert_eq!(one(&admin, &plain).await, 0);
    assert_protected(&roles).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_migrates_an_empty_database_and_later_tables_are_the_services_to_use() {
    let db = TestDb::empty_postgres().await;
    let roles = TwoRoles::of(&db);
    roles.made();
    let settings = roles.settings(&db);
    // Without the owner the service's role makes nothing, and says who does.
    let alone = config::Store { migrate_url: None, ..settings.clone() };
    let refused = Db::connect(&alone).await.unwrap().migrate().await.unwrap_err().to_string();
    assert!(refused.contains("store.migrate_url"), "{refused}");
    let (first, second) = (Db::connect(&settings).await.unwrap(), Db::connect(&settings).await.unwrap());
    let (first, second) = tokio::join!(first.migrate(), second.migrate());
    assert_eq!(usize::from(first.unwrap()) + usize::from(second.unwrap()), 1, "one of two that start at once");
    assert_protected(&roles).await;
    // Those of today are named in grants.sql, whatever becomes of their triggers.
    let admin = roles.as_admin().await;
    let named = "SELECT COUNT(*) FROM pg_trigger WHERE tgname LIKE '%\\_append\\_only'";
    let listed: Vec<String> = APPEND_ONLY.iter().map(|table| format!("'{table}_append_only'")).collect();
    assert_eq!(one(&admin, named).await, 5);
    assert_eq!(one(&admin, &format!("{named} AND tgname IN ({})", listed.join(", "))).await, 5);
    // A table of a later version, which this one's grants do not know.
    let owner = Database::connect(&roles.owner).await.unwrap();
    owner.execute_unprepared("CREATE TABLE later (id BIGINT PRIMARY KEY)").await.unwrap();
    let service = roles.as_service().await;
    for sql in ["INSERT INTO later VALUES (1)", "UPDATE later SET id = 2", "DELETE FROM later"] {
        service.execute_unprepared(sql).await.unwrap();
    }
    // An append-only one is recognised by its trigger, as soon as the owner has migrated.
    let guard = "CREATE TRIGGER later_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON later
                 FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only()";
    owner.execute_unprepared(guard).await.unwrap();
    Db::connect(&settings).await.unwrap().migrate().await.unwrap();
    service.execute_unprepared("INSERT INTO later VALUES (3)").await.unwrap();
    let refused = service.execute_unprepared("UPDATE later SET id = 4").await.unwrap_err().to_string();
    assert!(refused.contains("permission denied"), "{refused}");
    owner.execute_unprepared("DROP TABLE later").await.unwrap();
    // With nothing missing the service's role starts by itself.
    assert!(!Db::connect(&alone).await.unwrap().migrate().await.unwrap());
    // A right that was given by hand is taken back with the next start.
    let name = parts(&roles.service).0.split_once(':').unwrap().0.to_owned();
    admin.execute_unprepared(&format!("GRANT UPDATE, TRUNCATE ON ledger TO {name}")).await.unwrap();
    assert!(!Db::connect(&settings).await.unwrap().migrate().await.unwrap());
    assert_protected(&roles).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_runs_as_the_single_role_goes_on_while_the_tables_are_moved() {
    let db = TestDb::empty_postgres().await;
    let roles = TwoRoles::of(&db);
    let admin = roles.as_admin().await;
    let (name, password) = parts(&roles.service).0.split_once(':').unwrap();
    admin.execute_unprepared(&format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'")).await.unwrap();
    admin.execute_unprepared(&format!("GRANT CREATE ON SCHEMA public TO {name}")).await.unwrap();
    let one_role = config::Store { migrate_url: None, ..roles.settings(&db) };
    assert!(Db::connect(&one_role).await.unwrap().migrate().await.unwrap());
    let section = format!("[store]\nurl = \"{}\"\n", roles.service);
    let service = TestService::new().on(db).refunds().simulator(fast()).config(&section).processes().await;
    let before = service.run_all().await;
    service.place(&before.base, "MOVE0001", 100).await;
    roles.made();
    service.pay("MOVE0001").await;
    service.until_state(&before.base, "MOVE0001", "paid").await;
    paid_and_refunded(&service, &before.base, "MOVE0002").await;
    assert_protected(&roles).await;
    // Again, and beside a process that knows the owner.
    roles.made();
    let owner = [("WXPAY__STORE__MIGRATE_URL", roles.owner.as_str())];
    let beside = service.run_beside(ALL_ROLES, &owner).await;
    let order = json!({"order_no": "MOVE0003", "merchant": "main", "app": "shop", "amount_fen": 1, "description": "x",
                       "trade_type": "JSAPI", "openid": OPENID, "client_ip": "127.0.0.1"});
    let (status, answer) = service.post(&beside.base, "/v1/orders", &order).await;
    assert_eq!(status, 200, "{answer}");
    service.pay("MOVE0003").await;
    service.until_state(&before.base, "MOVE0003", "paid").await;
    service.finish().await;
}

#[tokio::test]
async fn a_service_that_could_act_as_the_owner_is_refused() {
    let db = TestDb::empty_postgres().await;
    let roles = TwoRoles::of(&db);
    roles.made();
    let admin = roles.as_admin().await;
    let name = |url: &str| parts(url).0.split_once(':').unwrap().0.to_owned();
    admin.execute_unprepared(&format!("GRANT {} TO {}", name(&roles.owner), name(&roles.service))).await.unwrap();
    let refused = Db::connect(&roles.settings(&db)).await.unwrap().migrate().await.unwrap_err().to_string();
    assert!(refused.contains("may act as their owner"), "{refused}");
    admin.execute_unprepared(&format!("REVOKE {} FROM {}", name(&roles.owner), name(&roles.service))).await.unwrap();
    Db::connect(&roles.settings(&db)).await.unwrap().migrate().await.unwrap();
    // A right that it has by a group is none that its owner can take back.
    let group = format!("group_{}", random_text(12).to_lowercase());
    for sql in [
        format!("CREATE ROLE {group}"),
        format!("GRANT UPDATE ON ledger TO {group}"),
        format!("GRANT {group} TO {}", name(&roles.service)),
    ] {
        admin.execute_unprepared(&sql).await.unwrap();
    }
    let refused = Db::connect(&roles.settings(&db)).await.unwrap().migrate().await.unwrap_err().to_string();
    assert!(refused.contains("may change rows of ledger"), "{refused}");
    // The script refuses what it could not do right, before it does anything.
    for (service, owner, says) in [
        (roles.service.clone(), roles.service.clone(), "the same role"),
        (roles.service.replace('@', "%40@"), roles.owner.clone(), "percent-encoded"),
        (format!("{}x", roles.service), roles.owner.clone(), "different databases"),
    ] {
        let wrong = TwoRoles { folder: tempfile::tempdir().unwrap(), service, owner, admin: roles.admin.clone() };
        let output = wrong.make();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{said}");
    }
}
