//! Where things may be used: each third-party crate, the wall clock, the environment, floats, printing.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::{Path, paths};
use super::source::{Kind, Source, Token, tokens};

/// Crates with one place each, so that replacing one is a change in one place.
const PLACES: &[(&str, &[&str])] = &[
    ("anyhow", &["bin", "src/demo"]),
    ("argon2", &["src/console/login/passwords.rs"]),
    ("askama", &["src/console"]),
    ("async_nats", &["src/bus/jetstream*"]),
    ("aws_lc_rs", &["src/secret.rs", "src/sealed_box.rs", "src/wechat"]),
    ("axum", &["src/http", "src/web", "src/console", "src/sandbox", "src/demo", "src/reference", "src/app"]),
    ("backoff", &["src/retry.rs"]),
    ("clap", &["bin", "src/demo", "src/ctl"]),
    ("clap_complete", &["src/ctl/args.rs", "src/ctl/scripts.rs"]),
    ("clap_mangen", &["src/ctl/scripts.rs"]),
    ("flate2", &["src/intake", "src/store/packed", "src/wechat/v2/bill", "src/sandbox", "src/reference"]),
    ("hyper", &["src/http", "src/web", "src/sandbox", "src/bus"]),
    ("hyper_util", &["src/http", "src/web", "src/sandbox", "src/bus"]),
    ("ipnet", &["src/config", "src/http", "src/web", "src/webhooks"]),
    ("jiff", &["src/clock.rs"]),
    ("lettre", &["src/config/address.rs", "src/webhooks/mail.rs"]),
    ("md5", &["src/wechat/v2"]),
    ("metrics_exporter_prometheus", &["src/telemetry"]),
    ("mimalloc", &["bin"]),
    ("migrations", &["src/store", "bin", "src/app*"]),
    ("p12_keystore", &["src/wechat/certificate.rs", "src/sandbox/http/certificates.rs"]),
    ("quick_xml", &["src/wechat/v2"]),
    ("rcgen", &["src/sandbox"]),
    // Besides WeChat, a NATS server's own pages and the receivers of webhooks are asked over HTTP.
    (
        "reqwest",
        &[
            "src/wechat/transport",
            "src/wechat/pay_hosts.rs",
            "src/webhooks",
            "src/sandbox/notify/sender.rs",
            "src/bus/jetstream*",
            "src/demo",
            "src/ctl/client.rs",
            "bin",
        ],
    ),
    ("sea_orm", &["src/store", "migrations"]),
    ("sea_orm_migration", &["src/store", "migrations"]),
    ("rusqlite", &["src/store/writer", "src/store/db/file_changes.rs"]),
    ("rust_xlsxwriter", &["src/ops/reports/xlsx.rs"]),
    ("rustls", &["src/wechat/certificate.rs", "src/sandbox"]),
    ("rustix", &["src/failpoint.rs", "src/doctor/disk.rs", "src/http/server/descriptors.rs"]),
    ("secrecy", &["src/secret.rs"]),
    ("sha1", &["src/wechat/jssdk.rs", "src/sandbox"]),
    ("strsim", &["src/config"]),
    ("tokio_cron_scheduler", &["src/scheduler"]),
    ("tokio_rustls", &["src/sandbox"]),
    ("toml", &["src/config", "src/bus/topology.rs"]),
    ("tower", &["src/http", "src/web", "src/sandbox"]),
    ("tower_http", &["src/http", "src/web", "src/sandbox"]),
    ("tracing_subscriber", &["src/telemetry", "src/config"]),
    ("url", &["src/config", "src/http", "src/web", "src/webhooks", "src/console", "src/ctl/client.rs"]),
    ("uuid", &["src/ids.rs"]),
    ("x509_parser", &["src/wechat/certificate.rs", "src/sandbox/http/certificates.rs"]),
];

/// Crates that are part of the language here.
const ANYWHERE: &[&str] = &[
    "base64",
    "futures_util",
    "metrics",
    "serde",
    "serde_json",
    "subtle",
    "thiserror",
    "tokio",
    "tokio_util",
    "tracing",
];

/// What pure modules may use beyond `std`: no runtime, no web, no database.
const PURE: &[(&str, &[&str])] = &[
    ("src/order", &["serde", "serde_json", "thiserror"]),
    ("src/event", &["base64", "serde", "serde_json", "thiserror"]),
    ("src/reconciliation", &["serde"]),
    ("src/money.rs", &["serde", "thiserror"]),
];

/// Where an amount may pass: no float there.
const MONEY: &[&str] = &[
    "src/money.rs",
    "src/order",
    "src/reconciliation",
    "src/reconcile",
    "src/event",
    "src/store",
    "src/wechat",
    "src/worker",
];

const CODE: &[&str] = &["src", "bin", "migrations"];

/// Where the environment is read. Crash points are armed by it, and compiled for tests only.
const ENVIRONMENT: &[&str] = &["src/config", "src/failpoint.rs", "bin"];

/// Where text is printed.
const PRINTING: &[&str] = &["bin", "src/demo"];

const CLOCK: &str = "src/clock.rs";

/// Where write transactions begin. Migrations and offline commands, outside `src`, begin their own.
const WRITER: &str = "src/store/writer";

/// Where the databases' crates are within reach ([`PLACES`]), and with them the methods that begin a transaction.
const STORE: &str = "src/store";

pub fn check(sources: &[Source]) -> Vec<String> {
    let crates = dependencies(sources);
    let mut violations: Vec<String> = crates
        .iter()
        .filter(|(name, _)| !ANYWHERE.contains(&name.as_str()) && places(name).is_none())
        .map(|(name, line)| format!("Cargo.toml:{line}: {name} has no line in PLACES: say where it may be used"))
        .collect();
    for source in sources.iter().filter(|s| s.is_rust() && CODE.iter().any(|place| s.is_in(place))) {
        let tokens = tokens(&source.text);
        for path in paths(&tokens) {
            third_party(source, &path, &crates, &mut violations);
            surroundings(source, &path, &mut violations);
        }
        words(source, &tokens, &mut violations);
        transactions(source, &tokens, &mut violations);
    }
    violations
}

/// The crates of the package's `[dependencies]` and their lines.
fn dependencies(sources: &[Source]) -> BTreeMap<String, usize> {
    let Some(manifest) = sources.iter().find(|s| s.path == "Cargo.toml") else { return BTreeMap::new() };
    let mut crates = BTreeMap::new();
    let mut inside = false;
    for (i, line) in manifest.text.lines().enumerate() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if let (true, Some((name, _))) = (inside && !line.starts_with('#'), line.split_once(" = ")) {
            let name = if name == "md-5" { "md5".to_owned() } else { name.replace('-', "_") };
            crates.insert(name, i + 1);
        }
    }
    crates
}

/// Lines of the tables that name a crate, a file or a folder that does not exist.
pub fn forgotten(sources: &[Source]) -> Vec<String> {
    let crates = dependencies(sources);
    let of_migrations = sources.iter().find(|s| s.path == "migrations/Cargo.toml").map_or("", |s| &s.text);
    let known = |name: &str| crates.contains_key(name) || of_migrations.contains(&name.replace('_', "-"));
    let no_crate = PLACES.iter().map(|(name, _)| *name).filter(|name| !known(name));
    let lists = PLACES
        .iter()
        .flat_map(|(_, places)| *places)
        .chain(MONEY)
        .chain(CODE)
        .chain(ENVIRONMENT)
        .chain(PRINTING)
        .chain([&CLOCK, &WRITER, &STORE]);
    let places: BTreeSet<&str> = lists.copied().chain(PURE.iter().map(|(place, _)| *place)).collect();
    let no_place = places.into_iter().filter(|place| !sources.iter().any(|s| s.is_in(place)));
    let gone = no_crate.chain(no_place).chain(ANYWHERE.iter().copied().filter(|name| !crates.contains_key(*name)));
    gone.map(|name| format!("PLACES: there is no {name}: forget it")).collect()
}

fn places(name: &str) -> Option<&'static [&'static str]> {
    PLACES.iter().find(|(known, _)| *known == name).map(|(_, places)| *places)
}

fn third_party(source: &Source, path: &Path, crates: &BTreeMap<String, usize>, violations: &mut Vec<String>) {
    let name = path.names[0].as_str();
    if let Some(places) = places(name)
        && !places.iter().any(|place| source.is_in(place))
    {
        violations.push(source.violation(path.line, format!("{name} belongs in {}", places.join(", "))));
    }
    let known = crates.contains_key(name) || places(name).is_some() || ANYWHERE.contains(&name);
    if let Some((place, allowed)) = PURE.iter().find(|(place, _)| source.is_in(place))
        && known
        && !allowed.contains(&name)
    {
        violations.push(source.violation(path.line, format!("{place} is pure: no {name}")));
    }
}

fn surroundings(source: &Source, path: &Path, violations: &mut Vec<String>) {
    let names: Vec<&str> = path.names.iter().map(String::as_str).collect();
    let clock = names.contains(&"SystemTime")
        || names.windows(2).any(|pair| {
            matches!(pair, ["Timestamp" | "Zoned" | "Utc" | "Local" | "OffsetDateTime", "now" | "now_utc"])
        });
    if clock && !source.is_in(CLOCK) {
        violations.push(source.violation(path.line, "the wall clock is read in src/clock.rs only: take a Clock"));
    }
    let reads = ["var", "var_os", "vars", "vars_os", "args", "args_os", "set_var", "current_dir", "temp_dir"];
    let env = names.starts_with(&["std", "env"]) || matches!(names[..], ["env", what, ..] if reads.contains(&what));
    if env && !ENVIRONMENT.iter().any(|place| source.is_in(place)) {
        violations.push(source.violation(path.line, "the environment is read in src/config and bin only"));
    }
}

fn words(source: &Source, tokens: &[Token], violations: &mut Vec<String>) {
    for (i, token) in tokens.iter().enumerate() {
        let Some(name) = token.ident() else { continue };
        if matches!(name, "f32" | "f64") && MONEY.iter().any(|place| source.is_in(place)) {
            violations.push(source.violation(token.line, format!("no {name} where amounts pass: money is whole fen")));
        }
        let is_macro = tokens.get(i + 1).is_some_and(|next| next.is('!'));
        let may_print = PRINTING.iter().any(|place| source.is_in(place));
        if is_macro && !may_print && matches!(name, "println" | "eprintln" | "print" | "eprint" | "dbg") {
            violations.push(source.violation(token.line, format!("{name}! belongs in bin and demo: use tracing")));
        }
    }
}

/// A transaction begins by a method of a connection, by the trait that has it, or by a statement.
fn transactions(source: &Source, tokens: &[Token], violations: &mut Vec<String>) {
    if !source.is_in("src") || source.is_in(WRITER) {
        return;
    }
    let methods = ["begin", "begin_with_config", "begin_with_options", "transaction", "transaction_with_config"];
    for (i, token) in tokens.iter().enumerate() {
        let called = i > 0 && tokens[i - 1].is('.') && tokens.get(i + 1).is_some_and(|next| next.is('('));
        let begins = match &token.kind {
            Kind::Ident(name) => {
                name == "TransactionTrait" || source.is_in(STORE) && called && methods.contains(&name.as_str())
            }
            Kind::Str(text) => begins_transaction(text),
            Kind::Punct(_) => false,
        };
        if begins {
            violations
                .push(source.violation(token.line, format!("only {WRITER} begins a transaction: hand it a write")));
        }
    }
}

fn begins_transaction(statement: &str) -> bool {
    let statement = statement.to_uppercase();
    let mut words = statement.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let kinds = ["DEFERRED", "IMMEDIATE", "EXCLUSIVE", "CONCURRENT", "TRANSACTION", "WORK", "ISOLATION", "READ"];
    match (words.next(), words.next()) {
        (Some("BEGIN"), kind) => statement == "BEGIN" || kind.is_some_and(|kind| kinds.contains(&kind)),
        (Some("START"), Some("TRANSACTION")) | (Some("SAVEPOINT"), Some(_)) => true,
        _ => false,
    }
}

#[cfg(test)]
const MANIFEST: &str =
    "[dependencies]\nreqwest = \"0\"\ntokio = \"1\"\nmd-5 = \"0\"\n[dev-dependencies]\nodd = \"1\"\n";

#[test]
fn each_thing_out_of_its_place_is_found() {
    for (path, code, says) in [
        ("src/worker/a.rs", "use reqwest::Client;", "reqwest belongs in src/wechat/transport"),
        ("src/worker/a.rs", "fn f() { reqwest::get(x); }", "reqwest belongs in"),
        ("src/http/a.rs", "use sea_orm::{EntityTrait, QueryFilter};", "sea_orm belongs in src/store, migrations"),
        ("src/bus/embedded.rs", "use async_nats::Client;", "async_nats belongs in"),
        ("src/wechat/transport/a.rs", "use md5::Md5;", "md5 belongs in src/wechat/v2"),
        ("src/order/decide.rs", "use tokio::sync::Mutex;", "src/order is pure: no tokio"),
        ("src/store/a.rs", "let t = std::time::SystemTime::now();", "wall clock"),
        ("src/store/a.rs", "use std::time::{Duration, SystemTime};", "wall clock"),
        ("src/store/a.rs", "let t = jiff::Timestamp::now();", "jiff belongs"),
        ("src/store/a.rs", "let t = Timestamp::now();", "wall clock"),
        ("src/http/a.rs", "let v = std::env::var(\"X\");", "environment"),
        ("src/http/a.rs", "let v = env::var(\"X\");", "environment"),
        ("src/store/a.rs", "fn yuan(fen: i64) -> f64 { 0.0 }", "no f64"),
        ("src/http/a.rs", "println!(\"x\");", "println! belongs"),
        ("src/http/a.rs", "dbg!(x);", "dbg! belongs"),
        ("src/store/a.rs", "let tx = pool.begin().await?;", "only src/store/writer begins a transaction"),
        ("src/store/a.rs", "db.transaction(|tx| f(tx)).await", "only src/store/writer begins a transaction"),
        ("src/store/a.rs", "use sea_orm::TransactionTrait;", "only src/store/writer begins a transaction"),
        ("src/store/a.rs", "tx.execute(\"BEGIN IMMEDIATE\")", "only src/store/writer begins a transaction"),
        ("src/worker/a.rs", "const SQL: &str = \"begin\";", "only src/store/writer begins a transaction"),
        ("src/worker/a.rs", "f(\"start transaction\")", "only src/store/writer begins a transaction"),
    ] {
        let violations = check(&[Source::new("Cargo.toml", MANIFEST), Source::new(path, code)]);
        assert!(
            violations.iter().any(|v| v.starts_with(&format!("{path}:1: ")) && v.contains(says)),
            "{code}: {violations:?}"
        );
    }
}

#[test]
fn each_thing_in_its_place_is_left_alone() {
    for (path, code) in [
        ("src/wechat/transport/a.rs", "use reqwest::Client; // sea_orm::x"),
        ("src/store/a.rs", "use sea_orm::EntityTrait; let s = \"f64 println!\";"),
        ("src/bus/jetstream_publish.rs", "use async_nats::Client;"),
        ("src/clock.rs", "let t = jiff::Timestamp::now();"),
        ("src/order/decide.rs", "use serde::Serialize; use crate::money::Fen;"),
        ("src/worker/a.rs", "let t = clock.now(); let i = std::time::Instant::now(); let s = d.as_secs_f64();"),
        ("src/worker/a.rs", "let v = env!(\"CARGO_PKG_VERSION\");"),
        ("src/config/process.rs", "std::env::vars_os()"),
        ("bin/wxpayd.rs", "println!(\"x\"); let a = std::env::args();"),
        ("tests/it/x.rs", "println!(\"x\"); use reqwest::Client;"),
        ("src/store/writer/a.rs", "use sea_orm::TransactionTrait; pool.begin().await; f(\"BEGIN IMMEDIATE\")"),
        ("migrations/src/lib.rs", "let tx = db.begin_with_options(options).await?;"),
        ("src/http/a.rs", "phase.begin(size); let s = \"-----BEGIN CERTIFICATE-----\";"),
        ("src/store/a.rs", "// BEGIN IMMEDIATE\nfn begin(x: u8) {} let s = \"BEGIN ENCRYPTED PRIVATE KEY\";"),
    ] {
        assert_eq!(check(&[Source::new("Cargo.toml", MANIFEST), Source::new(path, code)]), [] as [String; 0], "{code}");
    }
}

#[test]
fn a_crate_without_a_place_is_found() {
    let manifest = format!("{MANIFEST}[dependencies]\nleft-pad = \"1\"\n");
    let violations = check(&[Source::new("Cargo.toml", &manifest)]);
    assert_eq!(violations, ["Cargo.toml:8: left_pad has no line in PLACES: say where it may be used"]);
}

#[test]
fn a_line_for_a_crate_or_a_place_that_does_not_exist_is_found() {
    let all = super::source::repository();
    let without = |path: &str| {
        let left: Vec<Source> = all.iter().filter(|s| !s.is_in(path)).cloned().collect();
        forgotten(&left)
    };
    assert_eq!(without("docs"), [] as [String; 0]);
    assert_eq!(without("src/money.rs"), ["PLACES: there is no src/money.rs: forget it"]);
    assert!(without("Cargo.toml").contains(&"PLACES: there is no async_nats: forget it".to_owned()));
}

/// Crates that `deny.toml` bans never get as far as the lock file: the ban holds even where `cargo deny` is not run.
fn banned(deny: &str, lock: &str) -> Vec<String> {
    let deny: toml::Table = toml::from_str(deny).unwrap();
    let lock: toml::Table = toml::from_str(lock).unwrap();
    let packages = lock["package"].as_array().unwrap();
    let bans: Vec<&str> =
        deny["bans"]["deny"].as_array().unwrap().iter().map(|ban| ban["crate"].as_str().unwrap()).collect();
    assert!(!bans.is_empty());
    packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .filter(|name| bans.contains(name))
        .map(|name| format!("Cargo.lock: {name} is banned by deny.toml"))
        .collect()
}

#[test]
fn no_banned_crate_is_locked() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (deny, lock) = (read("deny.toml"), read("Cargo.lock"));
    assert_eq!(banned(&deny, &lock), [] as [String; 0]);
    let poisoned = format!("{lock}\n[[package]]\nname = \"openssl-sys\"\nversion = \"0.9.0\"\n");
    assert_eq!(banned(&deny, &poisoned), ["Cargo.lock: openssl-sys is banned by deny.toml"]);
}
