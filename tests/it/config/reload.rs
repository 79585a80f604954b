//! A configuration that is read anew: what takes effect, what waits for a restart, and what is refused.

use std::path::Path;

use tempfile::TempDir;
use wxpay_worker::config::{Config, Problems, Reload};
use wxpay_worker::wechat::certificate;

use super::support::{APP_SECRET, HASH, SESSION_KEY, V2_KEY, good, load_in, restrict};

fn reload(in_force: &Config, dir: &Path, text: &str) -> Result<Reload, Problems> {
    let file = dir.join("wxpay.toml");
    std::fs::write(&file, text).unwrap();
    in_force.reload(Some(&file), std::iter::empty(), certificate::check)
}

/// Another key of as many different characters.
fn rotated(key: &str) -> String {
    key.chars().rev().collect()
}

#[test]
fn keys_policies_and_limits_take_effect_and_are_named() {
    let dir = TempDir::new().unwrap();
    let before = load_in(dir.path(), &good(), &[]).unwrap();
    let text = good()
        .replace(V2_KEY, &rotated(V2_KEY))
        .replace(HASH, &rotated(HASH))
        .replace(APP_SECRET, &rotated(APP_SECRET))
        .replace("[store]", "[orders]\ndefault_expiry_minutes = 15\n[store]");
    let after = reload(&before, dir.path(), &text).unwrap();
    let names = ["api_keys[0].hash", "apps[0].secret", "merchants[0].v2_key", "orders.default_expiry_minutes"];
    assert_eq!(after.changed, names);
    assert!(after.needs_restart.is_empty(), "{:?}", after.needs_restart);
    assert_eq!(after.config.merchants[0].v2_key.fingerprint(), other_fingerprint(&rotated(V2_KEY)));
    assert_eq!(after.config.orders.default_expiry.as_secs(), 900);
    assert_ne!(after.config.hash(), before.hash());
    let shown = format!("{:?}{}", after, after.config.explain());
    for secret in [&rotated(V2_KEY), &rotated(APP_SECRET), SESSION_KEY] {
        assert!(!shown.contains(secret), "a secret is shown");
    }
}

fn other_fingerprint(key: &str) -> String {
    let text = good().replace(V2_KEY, key);
    Config::from_toml_str(&text).unwrap().merchants[0].v2_key.fingerprint()
}

#[test]
fn what_is_used_at_the_start_stays_and_is_named() {
    let dir = TempDir::new().unwrap();
    let before = load_in(dir.path(), &good(), &[]).unwrap();
    let text = good()
        .replace("db.internal", "db2.internal")
        .replace("https://pay.shop.cn\"\ntrusted", "https://pay2.shop.cn\"\norder_wait_ms = 1\ntrusted")
        .replace(SESSION_KEY, &rotated(SESSION_KEY))
        .replace("[store]", "[log]\njson = true\n[store]");
    let after = reload(&before, dir.path(), &text).unwrap();
    assert_eq!(after.changed, ["server.order_wait_ms"]);
    assert_eq!(
        after.needs_restart,
        ["log.json", "server.public_url", "store.migrate_url", "store.url", "web.session_key"]
    );
    assert_eq!(after.config.server.public_url, "https://pay.shop.cn");
    assert_eq!(after.config.server.order_wait.as_millis(), 1);
    assert_eq!(after.config.store.url.expose(), before.store.url.expose());
    assert!(!after.config.log.json);
    let key = |config: &Config| config.web.session_key.clone().unwrap().expose().to_owned();
    assert_eq!(key(&after.config), key(&before));
    // Read again, it is still said.
    let again = reload(&after.config, dir.path(), &text).unwrap();
    assert!(again.changed.is_empty(), "{:?}", again.changed);
    assert_eq!(again.needs_restart, after.needs_restart);
    // A restart would have it all.
    let restarted = load_in(dir.path(), &text, &[]).unwrap();
    assert_ne!(restarted.hash(), after.config.hash());
    assert_eq!(reload(&restarted, dir.path(), &text).unwrap().config.hash(), restarted.hash());
}

#[test]
fn a_secret_in_a_file_is_read_anew() {
    let dir = TempDir::new().unwrap();
    for (name, secret) in [("v2", V2_KEY), ("session", SESSION_KEY)] {
        std::fs::write(dir.path().join(name), secret).unwrap();
        restrict(&dir.path().join(name), 0o600);
    }
    let text = good()
        .replace(&format!("v2_key = \"{V2_KEY}\""), "v2_key_file = \"v2\"")
        .replace(&format!("session_key = \"{SESSION_KEY}\""), "session_key_file = \"session\"");
    let before = load_in(dir.path(), &text, &[]).unwrap();
    assert!(reload(&before, dir.path(), &text).unwrap().changed.is_empty(), "nothing changed");
    std::fs::write(dir.path().join("v2"), rotated(V2_KEY)).unwrap();
    std::fs::write(dir.path().join("session"), rotated(SESSION_KEY)).unwrap();
    let after = reload(&before, dir.path(), &text).unwrap();
    assert_eq!(after.changed, ["merchants[0].v2_key_file"]);
    assert_eq!(after.needs_restart, ["web.session_key_file"]);
    assert_eq!(after.config.web.session_key.unwrap().expose(), SESSION_KEY);
    std::fs::rename(dir.path().join("session"), dir.path().join("sealing")).unwrap();
    let moved = text.replace("session_key_file = \"session\"", "session_key_file = \"sealing\"");
    let moved = reload(&before, dir.path(), &moved).expect("a file of a secret that is used at the start");
    assert_eq!(moved.config.web.session_key.unwrap().expose(), SESSION_KEY);
    std::fs::remove_file(dir.path().join("v2")).unwrap();
    assert!(reload(&before, dir.path(), &text).is_err(), "a secret that is gone");
}

#[test]
fn what_would_not_start_is_refused_whole() {
    let dir = TempDir::new().unwrap();
    let before = load_in(dir.path(), &good(), &[]).unwrap();
    let rotated_key = good().replace(V2_KEY, &rotated(V2_KEY));
    for broken in [
        "not toml".to_owned(),
        String::new(),
        rotated_key.replace("\"10000100\"", "\"abc\""),
        rotated_key.replace("apps = [\"shop\"]", "apps = [\"none\"]"),
        rotated_key.replace("[store]", "[store]\nno_such_key = 1"),
    ] {
        assert!(reload(&before, dir.path(), &broken).is_err(), "{broken}");
    }
}

/// The notify_url has at most 256 bytes: a long merchant's key fits the new public_url alone, which takes a restart.
#[test]
fn what_takes_effect_must_go_with_what_does_not_yet() {
    let dir = TempDir::new().unwrap();
    let long = good()
        .replace("https://pay.shop.cn\"\ntrusted", &format!("https://pay.shop.cn/{}\"\ntrusted", "p".repeat(210)));
    let before = load_in(dir.path(), &long, &[]).unwrap();
    let key = "m".repeat(32);
    let other = good().replace("\"main\"", &format!("\"{key}\""));
    load_in(dir.path(), &other, &[]).expect("starts with both");
    let error = reload(&before, dir.path(), &other).unwrap_err().to_string();
    assert!(error.contains("notify_url") || error.contains("public_url"), "{error}");
}
