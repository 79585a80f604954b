//! Each rule of the configuration, broken once.

use std::time::Duration;

use wxpay_worker::config::{AppKind, IntakeKind, KeyHash, Merchants, Scope};
use wxpay_worker::trade::SignType;

use super::support::*;

#[test]
fn a_sound_configuration_arrives_in_its_types() {
    let config = load(&good(), &[]).unwrap();
    assert_eq!(config.warnings, []);
    assert_eq!(config.check_runnable(), Ok(()));
    assert_eq!(config.server.public_url, "https://pay.shop.cn");
    assert_eq!(config.server.notify_ack_timeout, Duration::from_secs(3));
    assert_eq!(config.server.admin_listen, None);
    assert_eq!(config.server.notify_listen, None);
    assert_eq!(config.server.intake.chosen, None);
    assert_eq!(config.orders.default_expiry, Duration::from_secs(7200));
    assert!(config.store.url.expose().contains(PASSWORD));
    let app = config.app("shop").unwrap();
    assert_eq!((app.kind, app.secret.as_ref().unwrap().expose()), (AppKind::OfficialAccount, APP_SECRET));
    let merchant = config.merchant("main").unwrap();
    assert_eq!((merchant.sign_type, merchant.v2_key.expose()), (SignType::HmacSha256, V2_KEY));
    let key = &config.api_keys[0];
    assert_eq!((key.name.as_str(), key.id.as_str()), ("shop-backend", "shop-backend"));
    assert_eq!(key.hashes, [KeyHash { sha256: HASH.into(), until: None }]);
    assert_eq!(key.scopes, [Scope::Orders, Scope::Refunds, Scope::Ops]);
    assert_eq!(key.merchants, Merchants::Only(vec![merchant.key.clone()]));
    assert_eq!(config.web.session_key.unwrap().expose(), SESSION_KEY);
}

/// (what is replaced, by what, how the one problem must begin, what it must say)
const BROKEN: &[(&str, &str, &str, &str)] = &[
    ("[server]", "[server]\nintake = \"file\"", "server.intake: ", "\"direct\", \"log\" or \"spool\""),
    ("[server]", "[server]\nintake = \"spool\"", "server.intake: ", "NATS"),
    (
        "[server]",
        "[bus]\nurl = \"nats://127.0.0.1:4222\"\nmonitoring_urls = [\"http://127.0.0.1:8222\"]\n\
         [server]\nintake = \"spool\"",
        "server.intake_dir: ",
        "local disk",
    ),
    ("[server]", "[server]\nlisten = \"localhost\"", "server.listen: ", "IP address and a port"),
    ("[server]", "[server]\nlisten = 8080", "server.listen: ", "text in quotes"),
    ("[server]", "[server]\nlisten = \"\"", "server.listen: ", "is missing"),
    ("[server]", "[server]\nadmin_listen = \"127.0.0.1:8080\"", "server.admin_listen: ", "same as listen"),
    ("[server]", "[server]\nnotify_listen = \"127.0.0.1:8080\"", "server.notify_listen: ", "another listener"),
    (
        "[server]",
        "[server]\nadmin_listen = \"127.0.0.1:9\"\nnotify_listen = \"127.0.0.1:9\"",
        "server.notify_listen: ",
        "another listener",
    ),
    ("[server]", "[server]\nnotify_listen = \"8081\"", "server.notify_listen: ", "IP address and a port"),
    ("[server]", "[server]\nlistne = \"127.0.0.1:80\"", "server.listne: ", "did you mean listen?"),
    ("[server]", "[server]\nqqqqqqqqqq = 1", "server.qqqqqqqqqq: ", "known here: listen, admin_listen"),
    ("[server]", "[sever]\na = 1\n[server]", "sever: ", "did you mean server?"),
    ("https://pay.shop.cn", "https://pay.shop.cn/?a=1", "server.public_url: ", "no query string"),
    ("https://pay.shop.cn", "https://pay.shop.cn/#a", "server.public_url: ", "no fragment"),
    ("https://pay.shop.cn", "ftp://pay.shop.cn", "server.public_url: ", "http"),
    ("https://pay.shop.cn", "pay.shop.cn", "server.public_url: ", "URL"),
    ("https://pay.shop.cn", "https://pay.shop.cn\\\\x", "server.public_url: ", "backslash"),
    ("https://pay.shop.cn", " https://pay.shop.cn", "server.public_url: ", "blanks"),
    ("https://pay.shop.cn", "https://支付.cn", "server.public_url: ", "ASCII"),
    ("https://pay.shop.cn", "https://u:p@pay.shop.cn", "server.public_url: ", "no user name"),
    ("[\"10.9.0.0/16\"]", "[\"10.0.0.0/8\", \"10.0.0.0/33\"]", "server.trusted_proxies: item 2 ", "network"),
    ("[\"10.9.0.0/16\"]", "\"10.0.0.0/8\"", "server.trusted_proxies: ", "list of texts"),
    ("[server]", "[server]\nmax_connections = 0", "server.max_connections: ", "from 1 to"),
    ("[server]", "[server]\nmax_connections = 1.5", "server.max_connections: ", "whole number"),
    ("[server]", "[server]\nheader_timeout_ms = 99", "server.header_timeout_ms: ", "from 100 to"),
    ("[server]", "[server]\nbody_timeout_ms = 120001", "server.body_timeout_ms: ", "to 120000"),
    ("[server]", "[server]\nidle_timeout_ms = -1", "server.idle_timeout_ms: ", "from 1000 to"),
    ("[server]", "[server]\nshutdown_timeout_ms = 0", "server.shutdown_timeout_ms: ", "from 1000 to"),
    ("[server]", "[server]\norder_wait_ms = 60001", "server.order_wait_ms: ", "to 60000"),
    ("[server]", "[server]\nnotify_ack_timeout_ms = 5000", "server.notify_ack_timeout_ms: ", "to 4500"),
    ("postgres://wxpay", "mysql://wxpay", "store.url: ", "sqlite://PATH or postgres://"),
    (STORE_URL, "sqlite::memory:", "store.url: ", "forget every order"),
    (STORE_URL, "sqlite://", "store.url: ", "names no file"),
    (STORE_URL, "postgres://wxpay@8.8.8.8/wxpay", "store.url: ", "whose certificate is not checked"),
    // Shared by the customers of a provider: no inner network.
    (STORE_URL, "postgres://wxpay@100.64.0.1/wxpay", "store.url: ", "whose certificate is not checked"),
    ("[store]", "[store]\nmax_connections = 1001", "store.max_connections: ", "to 1000"),
    ("[store]", "[store]\nmax_connections = 1", "store.max_connections: ", "2 at least with PostgreSQL"),
    ("[store]", "[store]\nmigrate_on_start = \"yes\"", "store.migrate_on_start: ", "true or false"),
    ("[web]", "[bus]\nurl = \"amqp://h\"\n[web]", "bus.url: ", "nats://HOST:4222"),
    ("[web]", "[bus]\nreplicas = 2\n[web]", "bus.replicas: ", "1, 3 or 5"),
    ("[web]", "[bus]\nreplicas = 7\n[web]", "bus.replicas: ", "from 1 to 5"),
    ("[web]", "[bus]\nurl = \"nats://a:4222\"\n[web]", "bus.monitoring_urls: ", "require_fsync = false"),
    ("[web]", "[bus]\nmonitoring_urls = [\"host:8222\"]\n[web]", "bus.monitoring_urls: item 1 ", "http"),
    ("[web]", "[bus]\ncredentials_file = \"none.creds\"\n[web]", "bus.credentials_file: ", "cannot be read"),
    ("[web]", "[bus]\nmax_bytes = 5\n[web]", "bus.max_bytes: ", "from 1048576"),
    ("[web]", "[wechat]\npay_url = \"api.mch.weixin.qq.com\"\n[web]", "wechat.pay_url: ", "URL"),
    ("[web]", "[wechat]\ntimeout_ms = 100\n[web]", "wechat.timeout_ms: ", "from 500"),
    ("[web]", "[wechat]\ntimeout_ms = 1000\n[web]", "wechat.connect_timeout_ms: ", "timeout_ms"),
    ("[web]", "[orders]\ndefault_expiry_minutes = 1\n[web]", "orders.default_expiry_minutes: ", "from 2 to 10080"),
    ("[web]", "[log]\nfilter = \"=,=\"\n[web]", "log.filter: ", "levels"),
    ("https://m.shop.cn", "https://m.shop.cn/pay", "web.callback_origins: item 1 ", "without a path"),
    ("https://m.shop.cn", "https://m.shop.cn/", "web.callback_origins: item 1 ", "trailing slash"),
    ("https://m.shop.cn", "https://*.shop.cn/*", "web.callback_origins: item 1 ", "origin"),
    ("session_key = \"session-key-with-many-different-characters\"", "", "web.session_key: ", "is missing"),
    ("session-key-with-many-different-characters", "too short", "web.session_key: ", "at least 32"),
    ("session-key-with-many-different-characters", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "web.session_key: ", "weak"),
    ("[web]", "[web]\nwallet_min_fen = 0", "web.wallet_min_fen: ", "from 1"),
    ("[web]", "[web]\nwallet_min_fen = 600000", "web.wallet_min_fen: ", "wallet_max_fen"),
    (
        "[[merchants]]",
        "[[apps]]\nkey = \"B\"\napp_id = \"2\"\nkind = \"mobile\"\n[[merchants]]",
        "apps[1].key: ",
        "a-z 0-9 -",
    ),
    ("wxd930ea5d5a258f4f", "wx-1", "apps[0].app_id: ", "letters or digits"),
    ("\"official_account\"", "\"official_acount\"", "apps[0].kind: ", "did you mean official_account?"),
    ("8f3c1e7a5b9d2046f8e1c3a7b5d90246", "8f3c1e7a5b9d2046", "apps[0].secret: ", "exactly 32"),
    ("8f3c1e7a5b9d2046f8e1c3a7b5d90246", "00000000000000000000000000000000", "apps[0].secret: ", "weak"),
    ("secret = \"8f3c1e7a5b9d2046f8e1c3a7b5d90246\"", "", "web.callback_origins: ", "official_account"),
    ("mch_id = \"10000100\"", "mch_id = 10000100", "merchants[0].mch_id: ", "text in quotes"),
    ("mch_id = \"10000100\"", "mch_id = \"1000010O\"", "merchants[0].mch_id: ", "digits"),
    ("apps = [\"shop\"]", "apps = []", "merchants[0].apps: ", "at least one"),
    ("apps = [\"shop\"]", "apps = [\"shoop\"]", "merchants[0].apps: item 1 ", "did you mean shop?"),
    ("apps = [\"shop\"]", "apps = [\"shop\"]\napi = \"v3\"", "merchants[0].api: ", "v3 is not supported yet"),
    ("apps = [\"shop\"]", "apps = [\"shop\"]\napi = \"v1\"", "merchants[0].api: ", "must be v2"),
    ("apps = [\"shop\"]", "apps = [\"shop\"]\nsign_type = \"SHA1\"", "merchants[0].sign_type: ", "HMAC-SHA256, MD5"),
    (
        "v2_key =",
        "v2_key_previous = \"0Ld1oLd2OlD3old4OLD5oLd6OlD7old8\"\nv2_key =",
        "merchants[0].v2_key_previous_until: ",
        "25 hours",
    ),
    (
        "v2_key =",
        "v2_key_previous_until = \"2026-01-02T03:04:05Z\"\nv2_key =",
        "merchants[0].v2_key_previous: ",
        "is missing",
    ),
    ("v2_key = \"Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA\"", "", "merchants[0].v2_key: ", "v2_key_file"),
    ("Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA", "Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0c", "merchants[0].v2_key: ", "exactly 32"),
    ("Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA", "Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0c ", "merchants[0].v2_key: ", "exactly 32"),
    ("Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA", "11111111111111111111111111111111", "merchants[0].v2_key: ", "weak"),
    ("v2_key = ", "v2_key_file = \"x\"\nv2_key = ", "merchants[0].v2_key: ", "given twice"),
    ("v2_key = ", "v2_keys = \"x\"\nv2_key = ", "merchants[0].v2_keys: ", "did you mean v2_key?"),
    ("name = \"shop-backend\"", "name = \"shop backend\"", "api_keys[0].name: ", "visible ASCII"),
    ("sha256:9b74", "9b74", "api_keys[0].hash: ", "sha256:"),
    ("sha256:9b74", "sha256:9B74", "api_keys[0].hash: ", "lower-case"),
    ("sha256:9b74", "sha256:9b7", "api_keys[0].hash: ", "64"),
    ("\"ops\"]", "\"opps\"]", "api_keys[0].scopes: item 3 ", "did you mean ops?"),
    ("scopes = [\"orders\", \"refunds\", \"ops\"]", "", "api_keys[0].scopes: ", "at least one of"),
    ("merchants = [\"main\"]", "merchants = [\"mian\"]", "api_keys[0].merchants: item 1 ", "did you mean main?"),
    ("[server]", "[webhooks]\nsmtp_url = \"http://mail.cn\"\n[server]", "webhooks.smtp_url: ", "smtps://HOST:465"),
    (
        "[server]",
        "[webhooks]\nsmtp_url = \"smtps://me:hunter2@mail.cn\"\n[server]",
        "webhooks.smtp_url: ",
        "no user and no password",
    ),
    ("[server]", "[webhooks]\nsmtp_url = \"smtps://mail.cn\"\n[server]", "webhooks.smtp_from: ", "is missing"),
    ("[server]", "[webhooks]\nsmtp_from = \"wxpay\"\n[server]", "webhooks.smtp_from: ", "wxpay <wxpay@example.com>"),
    (
        "[server]",
        "[webhooks]\nsmtp_url = \"smtps://mail.cn\"\nsmtp_from = \"a@b.cn\"\nsmtp_username = \"a\"\n[server]",
        "webhooks.smtp_password_file: ",
        "is missing",
    ),
    ("[server]", "[webhooks]\nsmtp_url = \"smtp://mail.cn\"\n[server]", "webhooks.smtp_url: ", "without STARTTLS"),
    (
        "[server]",
        "[webhooks]\nsmtp_url = \"smtps://mail.cn\"\nsmtp_from = \"a@b.cn\"\n[server]",
        "webhooks.mail_domains: ",
        "is missing",
    ),
    ("[server]", "[webhooks]\nmail_domains = [\"@b.cn\"]\n[server]", "webhooks.mail_domains: item 1 ", "a domain like"),
    ("[server]", "[webhooks]\nsmtp_from = \"a@b..cn\"\n[server]", "webhooks.smtp_from: ", "wxpay <wxpay@example.com>"),
];

#[test]
fn each_rule_is_reported_alone_with_its_key_and_its_mend() {
    for (from, to, key, says) in BROKEN {
        let text = good().replacen(from, to, 1);
        assert_ne!(text, good(), "nothing was replaced by {to:?}");
        let problem = only_problem(load(&text, &[]));
        assert!(problem.starts_with(key) && problem.contains(says), "{from:?} → {to:?}: {problem}");
        assert_silent_about_secrets(&problem);
    }
}

#[test]
fn an_explicit_way_of_notifications_counts() {
    for (text, chosen) in [("direct", IntakeKind::Direct), ("log", IntakeKind::Log)] {
        let file = good().replace("[server]", &format!("[server]\nintake = \"{text}\""));
        assert_eq!(load(&file, &[]).unwrap().server.intake.chosen, Some(chosen));
    }
}

#[test]
fn an_address_that_does_not_fit_notify_url_is_refused() {
    let long = |n: usize| good_but(&[("https://pay.shop.cn", &format!("https://pay.shop.cn/{}", "x".repeat(n)))]);
    // 20 + n characters, then "/notify/main/refund".
    let room = 256 - 20 - "/notify/main/refund".len();
    assert!(load(&long(room), &[]).is_ok());
    let problem = only_problem(load(&long(room + 1), &[]));
    assert!(problem.starts_with("server.public_url: is too long"), "{problem}");
}

#[test]
fn names_used_twice_are_refused() {
    let more = [
        ("[[apps]]\nkey = \"shop\"\napp_id = \"wx2\"\nkind = \"mobile\"", "apps[1].key: is the same as apps[0].key"),
        (
            "[[apps]]\nkey = \"b\"\napp_id = \"wxd930ea5d5a258f4f\"\nkind = \"mobile\"",
            "apps[1].app_id: is the same as apps[0]",
        ),
        (&merchant("main", "2"), "merchants[1].key: is the same as merchants[0].key"),
        (&merchant("two", "10000100"), "merchants[1].mch_id: is the same as merchants[0].mch_id"),
        (&api_key("shop-backend", &"ab".repeat(32)), "api_keys[1].name: is the same"),
        (&api_key("other", HASH), "api_keys[1].hash: is the same"),
    ];
    for (entry, says) in more {
        let problem = only_problem(load(&format!("{}\n{entry}", good()), &[]));
        assert!(problem.contains(says), "{problem}");
    }
}

fn merchant(key: &str, mch_id: &str) -> String {
    format!("[[merchants]]\nkey = \"{key}\"\nmch_id = \"{mch_id}\"\napps = [\"shop\"]\nv2_key = \"{V2_KEY}\"\n")
}

fn api_key(name: &str, hash: &str) -> String {
    format!("[[api_keys]]\nname = \"{name}\"\nhash = \"sha256:{hash}\"\nscopes = [\"ops\"]\n")
}

#[test]
fn all_problems_come_at_once_one_a_line() {
    let mut text = good();
    let breaks = [
        ("https://pay.shop.cn", "pay"),
        ("kind = \"official_account\"", "kind = \"x\""),
        (V2_KEY, "short"),
        ("\"ops\"", "\"all\""),
        ("[web]", "[web]\nwallet = 1"),
    ];
    for (from, to) in breaks {
        text = text.replacen(from, to, 1);
    }
    let problems = load(&text, &[("WXPAY__LOG__JSON", "maybe"), ("WXPAY__MERCHANTS__7__KEY", "x")]).unwrap_err();
    let lines: Vec<String> = problems.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), problems.len());
    for key in [
        "WXPAY__MERCHANTS__7__KEY: entry 7 of merchants without entry 1",
        "server.public_url: ",
        "web.wallet: unknown key",
        "log.json: must be true or false (set by WXPAY__LOG__JSON)",
        "apps[0].kind: ",
        "merchants[0].v2_key: is not usable",
        "api_keys[0].scopes: item 3 ",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(key)), "no {key} in:\n{problems}");
    }
    assert_eq!(lines.len(), 7, "{problems}");
}
