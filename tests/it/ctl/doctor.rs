//! `doctor`: each finding by the fault that it is about. The faults are made in files, databases and servers of the
//! test; what is asked is the simulator.

use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use wxpay_worker::clock::Clock;
use wxpay_worker::config::Config;
use wxpay_worker::doctor::{Examined, Finding, Space, Status, examine, of_configuration, of_space};
use wxpay_worker::store::{Db, Store};

use super::support::{Operator, run, wxpayctl};
use crate::harness::db::TestDb;
use crate::harness::nats::{NatsServer, Version};
use crate::harness::ports::free_port;
use crate::harness::service::{API_KEY, APP_SECRET, KEY, MCH_ID, OTHER_KEY, OTHER_MCH_ID, Processes, TestService};
use crate::wechat::certificates::{made, made_until};

/// What WeChat's documentation prints as a key.
const PUBLISHED: &str = "192006250b4c09247ec02edce69f6a2d";

/// An installation without processes, whose configuration the test changes by the environment.
struct Installation {
    service: Processes,
    files: TempDir,
    env: Vec<(String, String)>,
    clock: Clock,
    limit: Duration,
}

impl Installation {
    async fn on(service: TestService) -> Installation {
        let service = service.processes().await;
        let (files, limit) = (TempDir::new().unwrap(), Duration::from_secs(20));
        Installation { service, files, env: Vec::new(), clock: Clock::system(), limit }
    }

    async fn new() -> Installation {
        Installation::on(TestService::embedded_sqlite().await).await
    }

    /// Sets these keys and no others.
    fn set(&mut self, keys: &[(&str, &str)]) {
        let named = |(key, value): &(&str, &str)| (format!("WXPAY__{key}"), (*value).to_owned());
        self.env = keys.iter().map(named).collect();
    }

    /// A file that its owner alone can read.
    fn write(&self, name: &str, text: &str) -> String {
        let file = self.files.path().join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        file.display().to_string()
    }

    async fn findings(&self) -> Vec<Finding> {
        let file = Some(self.service.config_file());
        let (limit, clock) = (self.limit, self.clock.clone());
        let findings = examine(&Examined { file, env: self.env.clone(), limit, books: false, clock }).await;
        let said = format!("{findings:?}");
        for secret in [KEY, OTHER_KEY, APP_SECRET, API_KEY] {
            assert!(!said.contains(secret), "a secret shows");
        }
        findings
    }

    /// The one finding of a check and a status.
    async fn finding(&self, check: &str, status: Status) -> Finding {
        only(&self.findings().await, check, status)
    }

    async fn finish(self) {
        self.service.finish().await;
    }
}

fn only(findings: &[Finding], check: &str, status: Status) -> Finding {
    let mut found = findings.iter().filter(|finding| finding.check == check && finding.status == status);
    let first = found.next().unwrap_or_else(|| panic!("no {check} {status:?}: {findings:#?}"));
    assert!(found.next().is_none(), "{check} {status:?} twice: {findings:#?}");
    first.clone()
}

fn says(finding: &Finding, words: &[&str]) {
    let said = format!(
        "{} {} {}",
        finding.about.as_deref().unwrap_or(""),
        finding.found,
        finding.mend.as_deref().unwrap_or("")
    );
    for word in words {
        assert!(said.contains(word), "{word} is not in {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_installation_has_nothing_to_mend_and_is_not_changed() {
    let operator = Operator::new().await;
    let config = operator.service.config_file();
    let config = config.to_str().unwrap();
    let shown = operator.run(&["doctor", "--config", config, "--json"]).await;
    let report = shown.json();
    assert_eq!((shown.code, &report["ok"]), (0, &serde_json::json!(true)), "{report:#}");
    let findings = report["findings"].as_array().unwrap();
    for (check, about) in [
        ("configuration", None),
        ("database", None),
        ("schema", None),
        ("clock", Some("WeChat")),
        ("clock", Some("the database")),
        ("bus", None),
        ("bus_space", Some("PAY_IN")),
        ("merchant", Some("main")),
        ("notify_url", Some("server.public_url")),
        ("intake", None),
        ("service", None),
    ] {
        let ok = findings.iter().any(|finding| {
            finding["check"] == check
                && finding["status"] == "ok"
                && about.is_none_or(|about| finding["about"] == about)
        });
        assert!(ok, "{check} {about:?}: {report:#}");
    }
    let table = operator.run(&["doctor", "--config", config]).await;
    assert!(table.out.lines().any(|line| line.starts_with("ok") && line.contains("schema")), "{}", table.out);
    assert!(table.err.contains("0 problems"), "{}", table.err);
    operator.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_service_the_exit_code_tells_problems_from_silence() {
    let installation = Installation::new().await;
    let file = installation.service.config_file();
    let doctor = async |arguments: &[&str], env: &[(&str, &str)]| {
        let mut command = wxpayctl(&["doctor", "--json"]);
        command.args(arguments).envs(env.iter().copied());
        run(command).await
    };
    let config = ["--config", file.to_str().unwrap()];
    assert_eq!(doctor(&config, &[]).await.code, 0);
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let silent = doctor(&[&config[..], &["--url", &nowhere]].concat(), &[]).await;
    assert_eq!((silent.code, &silent.json()["ok"]), (5, &serde_json::json!(false)), "{}", silent.out);
    let refused = doctor(&config, &[("WXPAY__MERCHANTS__0__V2_KEY", "short")]).await;
    assert_eq!((refused.code, refused.json()["findings"][0]["about"].as_str()), (1, Some("merchants[0].v2_key")));
    assert_eq!(doctor(&[], &[]).await.code, 2, "nothing to examine");
    installation.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_and_a_wrong_clock_are_named() {
    let mut installation = Installation::new().await;
    let wrong = KEY.chars().rev().collect::<String>();
    installation.set(&[("MERCHANTS__0__V2_KEY", &wrong)]);
    installation.clock = Clock::host_off_by(120_000);
    let findings = installation.findings().await;
    let wrong = only(&findings, "merchant", Status::Problem);
    says(&wrong, &["main", "signature", "v2_key_file", "reload"]);
    let clocks: Vec<_> = findings.iter().filter(|f| f.check == "clock" && f.status == Status::Problem).collect();
    assert_eq!(clocks.len(), 2, "WeChat's and the database's: {findings:#?}");
    for clock in clocks {
        says(clock, &["differs by 1", "chrony"]);
    }
    installation.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stops_a_start_is_named_without_a_question() {
    let text = format!(
        "[[apps]]\nkey = \"shop\"\napp_id = \"wxd930ea5d5a258f4f\"\nkind = \"official_account\"\n\
         [[merchants]]\nkey = \"main\"\nmch_id = \"10000100\"\napps = [\"shop\"]\nv2_key = \"{PUBLISHED}\"\n"
    );
    let files = TempDir::new().unwrap();
    let file = files.path().join("wxpay.toml");
    let findings = async |more: &str| {
        std::fs::write(&file, format!("{more}\n{text}")).unwrap();
        let (limit, clock) = (Duration::from_secs(20), Clock::system());
        examine(&Examined { file: Some(file.clone()), env: Vec::new(), limit, books: false, clock }).await
    };
    let found = findings("[wechat]\napi_url = \"http://127.0.0.1:19001\"").await;
    assert!(found.iter().all(|finding| finding.status == Status::Problem), "{found:#?}");
    let about = |key: &str| found.iter().find(|finding| finding.about.as_deref() == Some(key)).unwrap();
    says(about("merchants.v2_key"), &["published", "key of your own"]);
    says(about("wechat"), &["sandbox by half", "wechat.pay_url", "wechat.api_url"]);
    assert!(!format!("{found:?}").contains(PUBLISHED), "{found:?}");
    let inside = Config::from_toml_str(&text.replace(PUBLISHED, KEY)).unwrap();
    let found = of_configuration(&inside, &Clock::system());
    says(&only(&found, "configuration", Status::Problem), &["server.public_url", "internet"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_named_by_their_end_and_their_owner() {
    let mut installation = Installation::new().await;
    for (name, (cert, key), check, status, words) in [
        ("good", made(MCH_ID, 2020, 2120), "certificate", Status::Ok, &["main", "valid until 2120"][..]),
        ("over", made_until(MCH_ID, 2020, (2021, 1, 1)), "certificate", Status::Problem, &["expired", "download"]),
        ("soon", made_until(MCH_ID, 2020, soon()), "certificate", Status::Warning, &["expires at", "download"]),
        (
            "other",
            made(OTHER_MCH_ID, 2020, 2120),
            "configuration",
            Status::Problem,
            &["client_cert_file", OTHER_MCH_ID],
        ),
    ] {
        let cert = installation.write(&format!("{name}.pem"), &cert);
        let key = installation.write(&format!("{name}-key.pem"), &key);
        installation.set(&[("MERCHANTS__0__CLIENT_CERT_FILE", &cert), ("MERCHANTS__0__CLIENT_KEY_FILE", &key)]);
        let found = installation.findings().await;
        let about = found.iter().filter(|f| f.status != Status::Ok || f.check == "certificate").cloned();
        says(&only(&about.collect::<Vec<_>>(), check, status), words);
    }
    installation.finish().await;
}

/// Year, month and day of the day in a week.
fn soon() -> (i32, u8, u8) {
    let text = Clock::system().now().after(Duration::from_secs(7 * 86_400)).to_string();
    (text[..4].parse().unwrap(), text[5..7].parse().unwrap(), text[8..10].parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_migration_and_a_full_queue_are_named_on_both_databases() {
    for db in [TestDb::sqlite(), TestDb::postgres().await] {
        let installation = Installation::on(TestService::new().on(db).config("[bus]\nmax_bytes = 1048576\n")).await;
        let db = installation.service.open_db().await;
        installation.service.open_bus(&db).await;
        let newest = "SELECT MAX(version) FROM seaql_migrations";
        let [name] = &crate::harness::sql::texts(&db, newest).await[..] else { panic!("no migration") };
        let name = name.clone();
        execute(&db, "DELETE FROM seaql_migrations WHERE version = (SELECT MAX(version) FROM seaql_migrations)").await;
        execute(&db, "UPDATE bus_streams SET size_bytes = 1048576 WHERE stream = 'PAY_IN'").await;
        let findings = installation.findings().await;
        says(&only(&findings, "schema", Status::Problem), &["1 migrations are missing", &name, "wxpayd migrate"]);
        says(&only(&findings, "bus_space", Status::Problem), &["PAY_IN", "100 %", "bus.max_bytes"]);
        let left = crate::harness::sql::texts(&db, newest).await;
        assert!(!left.contains(&name), "it was applied, which a check must not do");
        let restore = format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{name}', 0)");
        execute(&db, &restore).await;
        execute(&db, "UPDATE bus_streams SET size_bytes = 0").await;
        installation.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_in_intake_logs_is_named_and_left_as_it_is() {
    use crate::intake::support::{NAME, record};
    use wxpay_worker::intake::{DatabaseId, LogSettings, keep_aside, open};
    let installation = Installation::new().await;
    let db = installation.service.open_db().await;
    let id = Store::new(db.clone()).intake_database("abcdefghij0123456789").await.unwrap();
    let file = installation.service.db.url().trim_start_matches("sqlite://").to_owned();
    let folder = std::path::PathBuf::from(format!("{file}.intake"));
    let id = DatabaseId::parse(&id).unwrap();
    let (appender, mut reader) = open(&folder, NAME, id, LogSettings::DEFAULT).unwrap();
    appender.append(record(b"accepted")).await.unwrap();
    says(&installation.finding("intake", Status::Ok).await, &["1 intake logs of running processes"]);
    appender.close();
    while !reader.take(9).await.is_empty() {}
    drop((appender, reader));
    let other = folder.join("notify-bbbbbbbbbbbbbbbbbbbb");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("00000000000000000000-00000000000000000000.log"), b"WXPAYIN1").unwrap();
    keep_aside(&folder, NAME, 7, b"no record").unwrap();
    execute(&db, "INSERT INTO intake_logs (log, folder, position, opened_at_ms) VALUES ('notify-cc', '/gone', 7, 1)")
        .await;
    let findings = installation.findings().await;
    let found: Vec<&Finding> = findings.iter().filter(|finding| finding.check == "intake").collect();
    let wanted: [&[&str]; 4] = [
        &[NAME, "bytes of notifications of a process that ended", "start wxpayd"],
        &["notify-bbbbbbbbbbbbbbbbbbbb", "its header is cut off", "docs/intake.md"],
        &["1 files of damaged bytes"],
        &["notify-cc", "1 logs are missing", "server.intake_dir"],
    ];
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (finding, words) in found.into_iter().zip(wanted) {
        assert_eq!(finding.status, Status::Warning, "{finding:?}");
        says(finding, words);
    }
    assert!(folder.join(NAME).join("lock").exists() && other.exists(), "a check changes nothing");
    installation.service.leave_unfinished("no process runs that settles what lies there");
    installation.finish().await;
}

async fn execute(db: &Db, sql: &str) {
    assert!(db.execute("test", sql.to_owned(), []).await.unwrap() > 0, "{sql}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_named_and_not_made() {
    let mut installation = Installation::new().await;
    let file = installation.files.path().join("no.db");
    installation.set(&[("STORE__URL", &format!("sqlite://{}", file.display()))]);
    says(&installation.finding("database", Status::Warning).await, &["does not exist", "store.url"]);
    assert!(!file.exists(), "it was made");
    installation.set(&[("STORE__URL", &format!("postgres://u@127.0.0.1:{}/x", free_port()))]);
    installation.limit = Duration::from_secs(2);
    let down = installation.finding("database", Status::Down).await;
    assert!(down.mend.is_some(), "{down:?}");
    installation.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_named_when_it_is_silent_old_or_lazy() {
    let lazy = NatsServer::start_with(Version::New, "120s");
    let mut installation = Installation::new().await;
    let old = old_nats().await;
    let dead = format!("nats://127.0.0.1:{}", free_port());
    for (url, monitoring, status, words) in [
        (dead, lazy.monitoring_url(), Status::Down, &["no NATS server answers", "bus.url"][..]),
        (old, lazy.monitoring_url(), Status::Problem, &["2.9.10", "2.10 or newer"]),
        (lazy.url(), lazy.monitoring_url(), Status::Problem, &["syncs every 120 s", "sync_interval: always"]),
    ] {
        installation.set(&[("BUS__URL", &url), ("BUS__MONITORING_URLS", &monitoring)]);
        says(&installation.finding("bus", status).await, words);
    }
    installation.set(&[
        ("BUS__URL", &lazy.url()),
        ("BUS__MONITORING_URLS", &lazy.monitoring_url()),
        ("BUS__REQUIRE_FSYNC", "false"),
    ]);
    let allowed: Vec<_> = installation.findings().await.into_iter().filter(|f| f.check == "bus").collect();
    let warnings: Vec<_> = allowed.iter().filter(|f| f.status == Status::Warning).collect();
    assert_eq!(warnings.len(), 3, "it syncs late, and both streams are missing: {allowed:#?}");
    installation.finish().await;
}

/// A server that introduces itself with a version that cannot sync before it acknowledges.
async fn old_nats() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (read, mut write) = stream.into_split();
            let info = format!(
                "INFO {{\"server_id\":\"OLD\",\"server_name\":\"old\",\"version\":\"2.9.10\",\"go\":\"go1.19\",\
                 \"host\":\"127.0.0.1\",\"port\":{port},\"headers\":true,\"max_payload\":1048576,\"proto\":1,\
                 \"jetstream\":true}}\r\n"
            );
            write.write_all(info.as_bytes()).await.unwrap();
            let mut lines = BufReader::new(read).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.starts_with("PING") {
                    write.write_all(b"PONG\r\n").await.unwrap();
                }
            }
        }
    });
    format!("nats://127.0.0.1:{port}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_resolved_or_connected_to_is_named() {
    let mut installation = Installation::new().await;
    let silent = installation.finding("notify_url", Status::Warning).await;
    says(&silent, &["server.public_url", "takes no connection"]);
    installation.set(&[("SERVER__PUBLIC_URL", "https://pay.invalid")]);
    says(&installation.finding("notify_url", Status::Problem).await, &["pay.invalid", "cannot be resolved", "DNS"]);
    installation.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_gets_no_answer_ends_at_its_limit() {
    let mut installation = Installation::new().await;
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", hole.local_addr().unwrap());
    installation.set(&[
        ("WECHAT__PAY_URL", &silent),
        ("WECHAT__PAY_BACKUP_URL", &silent),
        ("WECHAT__TIMEOUT_MS", "60000"),
    ]);
    installation.limit = Duration::from_secs(1);
    let begun = std::time::Instant::now();
    let findings = installation.findings().await;
    // Without a limit it takes as long as a call to WeChat may.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let silent: Vec<_> = findings.iter().filter(|f| f.check == "merchant" && f.status == Status::Down).collect();
    assert_eq!(silent.len(), 2, "both merchants: {findings:#?}");
    says(&only(&findings, "clock", Status::NotChecked), &["WeChat gave no time"]);
    installation.finish().await;
}

#[test]
fn a_disk_is_full_before_the_last_byte() {
    const MIB: u64 = 1024 * 1024;
    let of = |mib: u64| of_space(Space { free: mib * MIB, total: 100_000 * MIB }).status;
    assert_eq!(
        [0, 63, 64, 1023, 1024].map(of),
        [Status::Problem, Status::Problem, Status::Warning, Status::Warning, Status::Ok]
    );
}
