//! Where values come from: defaults, file, environment.

use std::path::Path;
use std::time::Duration;

use wxpay_worker::config::Config;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::certificate;

use super::support::*;

#[test]
fn syntax_errors_name_file_and_line_and_quote_nothing() {
    let text = format!("[server]\nlisten = \"127.0.0.1:1\"\n[[merchants]]\nv2_key = \"{V2_KEY}\n\n[store\n");
    let problems = load(&text, &[]).unwrap_err().to_string();
    assert!(problems.contains("wxpay.toml: line 4 is not TOML"), "{problems}");
    assert_silent_about_secrets(&problems);

    let missing = Config::load(Some(Path::new("no/such.toml")), std::iter::empty(), certificate::check);
    assert!(only_problem(missing).starts_with("no/such.toml: cannot be read"));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let env = [
        ("WXPAY__SERVER__LISTEN", "127.0.0.1:9999"),
        ("WXPAY__SERVER__MAX_CONNECTIONS", "77"),
        ("WXPAY__SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 192.168.1.1"),
        ("WXPAY__LOG__JSON", "true"),
        ("WXPAY__WEB__CALLBACK_ORIGINS", "[\"https://a.cn\", \"https://b.cn:8443\"]"),
        ("WXPAY__MERCHANTS__0__MCH_ID", "42"),
        ("WXPAY__MERCHANTS__1__KEY", "second"),
        ("WXPAY__MERCHANTS__1__MCH_ID", "43"),
        ("WXPAY__MERCHANTS__1__APPS", "shop"),
        ("WXPAY__MERCHANTS__1__V2_KEY", V2_KEY),
        ("WXPAY__MERCHANTS__1__SIGN_TYPE", "MD5"),
        ("WXPAY_TEST_POSTGRES", "not ours"),
        ("PATH", "/bin"),
    ];
    let text = good().replacen("[server]", "[server]\nlisten = \"127.0.0.1:1\"\nheader_timeout_ms = 1234", 1);
    let config = load(&text, &env).unwrap();
    assert_eq!(config.server.listen.port(), 9999);
    assert_eq!(config.server.header_timeout, Duration::from_millis(1234));
    assert_eq!(config.server.body_timeout, Duration::from_secs(10));
    assert_eq!(config.server.max_connections, 77);
    let proxies: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "192.168.1.1/32"]);
    assert!(config.log.json);
    assert_eq!(config.web.callback_origins, ["https://a.cn", "https://b.cn:8443"]);
    assert_eq!(config.merchants[0].mch_id.as_str(), "42");
    assert_eq!((config.merchants[1].key.as_str(), config.merchants[1].sign_type), ("second", SignType::Md5));
}

#[test]
fn the_environment_alone_is_enough() {
    let numbered: Vec<(String, String)> = (0..11)
        .flat_map(|i| {
            let name = |key: &str| format!("WXPAY__MERCHANTS__{i}__{key}");
            [
                (name("KEY"), format!("m{i}")),
                (name("MCH_ID"), format!("{}", 1000 + i)),
                (name("APPS"), "shop".to_owned()),
                (name("V2_KEY"), V2_KEY.to_owned()),
            ]
        })
        .chain(
            [("KEY", "shop"), ("APP_ID", "wx1"), ("KIND", "mobile")]
                .map(|(key, value)| (format!("WXPAY__APPS__0__{key}"), value.to_owned())),
        )
        .collect();
    let config = Config::load(None, numbered.into_iter(), certificate::check).unwrap();
    let keys: Vec<&str> = config.merchants.iter().map(|m| m.key.as_str()).collect();
    assert_eq!(keys, ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10"]);
}

#[test]
fn variables_that_fit_nowhere_are_refused_by_name() {
    for (name, says) in [
        ("WXPAY__SERVER__LISTNE", "server.listne: unknown key; did you mean listen? (set by WXPAY__SERVER__LISTNE)"),
        ("WXPAY__SERVER", "server: must be a table"),
        ("WXPAY__SERVER__LISTEN__PORT", "WXPAY__SERVER__LISTEN__PORT: listen has no keys below it"),
        ("WXPAY__MERCHANTS__KEY", "WXPAY__MERCHANTS__KEY: merchants is a list"),
        ("WXPAY__MERCHANTS__0", "WXPAY__MERCHANTS__0: an entry of merchants is a table"),
        ("WXPAY__MERCHANTS__0__APPS__0", "WXPAY__MERCHANTS__0__APPS__0: apps is not a list of tables"),
        ("WXPAY____LISTEN", "WXPAY____LISTEN: two underscores"),
        ("WXPAY__0__LISTEN", "WXPAY__0__LISTEN: a number must follow"),
    ] {
        let problem = only_problem(load(&good(), &[(name, "1")]));
        assert!(problem.starts_with(says), "{problem}");
    }
}

#[test]
fn the_defaults_alone_load_but_are_not_enough_to_run() {
    let config = Config::from_toml_str("").unwrap();
    let problems = config.check_runnable().unwrap_err().to_string();
    assert!(problems.contains("merchants: none is configured"), "{problems}");
    assert!(problems.contains("server.public_url: must be reachable from the internet"), "{problems}");

    let config =
        Config::from_toml_str(&format!("{SANDBOX}\n{}", good_but(&[("https://pay.shop.cn", "http://localhost:1")])));
    assert_eq!(config.unwrap().check_runnable(), Ok(()));
}

#[test]
fn the_examples_in_the_defaults_are_accepted_as_they_stand() {
    let dir = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    let (cert, key) = crate::wechat::certificates::made("10000100", 2020, 2120);
    for (name, content) in [
        ("shop.secret", APP_SECRET),
        ("main.v2key", V2_KEY),
        ("main.v2key.old", "0Ld1oLd2OlD3old4OLD5oLd6OlD7old8"),
        ("apiclient_cert.pem", &cert),
        ("apiclient_key.pem", &key),
    ] {
        let file = dir.path().join("secrets").join(name);
        std::fs::write(&file, content).unwrap();
        restrict(&file, 0o600);
    }
    let example =
        |line: &str| line.starts_with("[[") || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let text: String = include_str!("../../../src/config/default.toml")
        .lines()
        .filter_map(|line| line.strip_prefix("# ").filter(|line| example(line)))
        .map(|line| format!("{line}\n"))
        .collect();
    let config = load_in(dir.path(), &text, &[]).unwrap();
    assert_eq!((config.apps.len(), config.merchants.len(), config.api_keys.len()), (1, 1, 1));
    assert_eq!(config.merchants[0].client_key_file.as_deref(), Some(&*dir.path().join("secrets/apiclient_key.pem")));
}

#[test]
fn every_key_that_is_read_stands_in_the_defaults() {
    let text = Config::from_toml_str("").unwrap().explain();
    let in_force: toml::Table = toml::from_str(&text).unwrap();
    let documented: toml::Table = toml::from_str(include_str!("../../../src/config/default.toml")).unwrap();
    for (section, keys) in &documented {
        for key in keys.as_table().unwrap().keys() {
            // A secret that is not set has no value to list; a file that is not named neither.
            let silent = key.ends_with("_file");
            assert!(silent || in_force[section].get(key).is_some(), "{section}.{key} is documented and not read");
        }
    }
    for (section, keys) in &in_force {
        for key in keys.as_table().unwrap().keys() {
            assert!(documented[section].get(key).is_some(), "{section}.{key} is read and not documented");
        }
    }
}

#[test]
fn the_listing_is_toml_and_names_every_source() {
    let text = good_but(&[("[server]", "[server]\nlisten = \"127.0.0.1:1\"")]);
    let config = load(&text, &[("WXPAY__LOG__FILTER", "warn"), ("WXPAY__MERCHANTS__0__V2_KEY", V2_KEY)]).unwrap();
    let listing = config.explain();
    for line in [
        "listen = \"127.0.0.1:1\" # file",
        "max_connections = 10000 # default",
        "filter = \"warn\" # WXPAY__LOG__FILTER",
        "v2_key = \"***\" # WXPAY__MERCHANTS__0__V2_KEY",
        "sign_type = \"HMAC-SHA256\" # default",
        "secret = \"***\" # file",
        "url = \"postgres://***@db.internal/wxpay\" # file",
    ] {
        assert!(listing.lines().any(|l| l == line), "no {line} in:\n{listing}");
    }
    let parsed: toml::Table = toml::from_str(&listing).unwrap();
    assert_eq!(parsed["merchants"][0]["mch_id"].as_str(), Some("10000100"));
}
