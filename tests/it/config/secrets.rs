//! Secrets: from a file or the environment, never shown.

use tempfile::TempDir;
use wxpay_worker::config::Config;
use wxpay_worker::wechat::certificate;

use super::support::*;

const INLINE: &str = "v2_key = \"Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA\"";

#[test]
fn no_output_holds_a_secret() {
    let config = load(&good(), &[]).unwrap();
    assert_silent_about_secrets(&format!("{config:?} {config:#?}"));
    assert_silent_about_secrets(&config.explain());
    assert!(config.explain().contains("***"));

    // Every secret in the wrong place at once.
    let text = good_but(&[
        ("https://pay.shop.cn", &format!("https://x:{PASSWORD}@h/?{V2_KEY}")),
        ("official_account", V2_KEY),
        ("[\"shop\"]", &format!("[\"{APP_SECRET}\"]")),
        ("[\"orders\", \"refunds\", \"ops\"]", &format!("[\"{V2_KEY}\"]")),
        (&format!("sha256:{HASH}"), SESSION_KEY),
        ("postgres:", "oracle:"),
        ("https://m.shop.cn", V2_KEY),
        ("[server]", &format!("[bus]\nurl = \"nats:{PASSWORD}\"\n[server]\nlisten = \"{PASSWORD}\"")),
    ]);
    let problems = load(&text, &[("WXPAY__SERVER__MAX_CONNECTIONS", V2_KEY), ("WXPAY__LOG__JSON", PASSWORD)]);
    let problems = problems.unwrap_err();
    assert!(problems.len() >= 10, "{problems}");
    assert_silent_about_secrets(&format!("{problems} {problems:?}"));
}

#[test]
fn a_secret_file_counts_from_the_configuration_and_loses_its_last_newline() {
    let dir = TempDir::new().unwrap();
    for ending in ["", "\n", "\r\n"] {
        write(dir.path(), "v2.key", &format!("{V2_KEY}{ending}"));
        let text = good_but(&[(INLINE, "v2_key_file = \"v2.key\"")]);
        let config = load_in(dir.path(), &text, &[]).unwrap();
        assert_eq!(config.merchants[0].v2_key.expose(), V2_KEY);
        assert_silent_about_secrets(&config.explain());
    }
}

#[test]
fn the_later_layer_wins_between_a_secret_and_its_file() {
    let dir = TempDir::new().unwrap();
    let other = V2_KEY.replace('K', "x");
    let path = write(dir.path(), "v2.key", &other);
    let in_file =
        |text: &str, env: &[(&str, &str)]| load_in(dir.path(), text, env).unwrap().merchants[0].v2_key.clone();
    assert_eq!(in_file(&good(), &[("WXPAY__MERCHANTS__0__V2_KEY_FILE", &path)]).expose(), other);
    let text = good_but(&[(INLINE, "v2_key_file = \"v2.key\"")]);
    assert_eq!(in_file(&text, &[("WXPAY__MERCHANTS__0__V2_KEY", V2_KEY)]).expose(), V2_KEY);
}

#[test]
fn a_secret_file_that_holds_none_is_refused() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("binary"), [0xff, 0xfe, 0x00]).unwrap();
    write(dir.path(), "empty", "\n");
    write(dir.path(), "huge", &"x".repeat(70_000));
    write(dir.path(), "weak", &"ab".repeat(16));
    for (file, says) in [
        ("none", "cannot be read"),
        ("binary", "is not a text file"),
        ("empty", "is empty"),
        ("huge", "larger than 64 KiB"),
        ("weak", "is weak"),
    ] {
        let text = good_but(&[(INLINE, &format!("v2_key_file = \"{file}\""))]);
        let problem = only_problem(load_in(dir.path(), &text, &[]));
        assert!(problem.starts_with("merchants[0].v2_key_file: ") && problem.contains(says), "{problem}");
    }
}

#[test]
fn secret_files_open_to_every_user_are_warned_about() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "v2.key", V2_KEY);
    let text = good_but(&[(INLINE, "v2_key_file = \"v2.key\"")]);
    let warned = |config: &Config| config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");

    restrict(&dir.path().join("v2.key"), 0o640);
    assert_eq!(warned(&load_in(dir.path(), &text, &[]).unwrap()), "");
    restrict(&dir.path().join("v2.key"), 0o644);
    let warning = warned(&load_in(dir.path(), &text, &[]).unwrap());
    assert!(warning.starts_with("merchants[0].v2_key_file: ") && warning.contains("chmod o="), "{warning}");

    let file = dir.path().join("open.toml");
    std::fs::write(&file, good()).unwrap();
    restrict(&file, 0o644);
    let warning = warned(&Config::load(Some(&file), std::iter::empty(), certificate::check).unwrap());
    for key in ["store.url: ", "web.session_key: ", "apps[0].secret: ", "merchants[0].v2_key: "] {
        assert!(warning.lines().any(|line| line.starts_with(key)), "{warning}");
    }
}

#[test]
fn what_endangers_money_is_warned_about_beside_a_simulator_and_refused_where_wechat_is_called() {
    let published = "192006250b4c09247ec02edce69f6a2d";
    let sandbox = format!("{SANDBOX}[server]");
    for (from, to, key, says) in [
        ("https://pay.shop.cn", "http://pay.shop.cn", "server.public_url: ", "unencrypted"),
        ("https://m.shop.cn", "http://m.shop.cn", "web.callback_origins: ", "unencrypted"),
        ("10.9.0.0/16", "0.0.0.0/0", "server.trusted_proxies: ", "whole internet"),
        (V2_KEY, published, "merchants.v2_key: ", "published example"),
        ("trusted_proxies = [\"10.9.0.0/16\"]", "", "server.trusted_proxies: ", "Name the proxy"),
    ] {
        let changes = [(from, to), ("[server]", sandbox.as_str())];
        let config = load(&good_but(&changes), &[]).unwrap();
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        assert!(matches!(&*warnings, [w] if w.starts_with(key) && w.contains(says)), "{warnings:?}");
        let problem = only_problem(load(&good_but(&changes[..1]), &[]));
        assert!(problem.starts_with(key) && problem.contains(says), "{problem}");
    }
}

#[test]
fn a_sandbox_by_half_is_refused() {
    let text = good_but(&[("[server]", &format!("{SANDBOX}[server]"))]);
    let (from, to) = ("\napi_url = \"http://127.0.0.1:19001", "\napi_url = \"http://api.weixin.qq.com");
    assert!(text.contains(from));
    let problems = load(&text.replace(from, to), &[]).unwrap_err().to_string();
    assert!(problems.contains("wechat: is a sandbox by half: wechat.pay_url, "), "{problems}");
    assert!(problems.contains("is not WeChat, wechat.api_url is"), "{problems}");
    assert!(problems.contains("wechat.api_url: goes over the internet unencrypted"), "{problems}");
}

#[test]
fn what_weakens_a_start_without_stopping_it_is_warned_about() {
    for (from, to, key, says) in [
        // The cookies of a login are the host's alone; one page of it is enough.
        (", \"https://pay.shop.cn\"", "", "web.callback_origins: ", "host of server.public_url"),
        // Behind a loopback address it is a proxy without doubt, and an error; here it may be another thing.
        (
            "trusted_proxies = [\"10.9.0.0/16\"]",
            "listen = \"10.0.0.1:8080\"",
            "server.trusted_proxies: ",
            "Name the proxy",
        ),
    ] {
        let config = load(&good_but(&[(from, to)]), &[]).unwrap();
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        assert!(matches!(&*warnings, [w] if w.starts_with(key) && w.contains(says)), "{warnings:?}");
    }
    for inside in
        ["http://127.0.0.1:1", "http://[::1]", "http://10.1.2.3", "http://sandbox:19001", "http://pay.internal"]
    {
        let config = load(&good().replace("https://pay.shop.cn", inside), &[]).unwrap();
        assert_eq!(config.warnings, []);
    }
}

#[test]
fn without_a_browser_side_there_is_nothing_to_say_about_its_pages_and_proxies() {
    let closed = good().replace("session_key", "# session_key").replace("callback_origins", "# callback_origins");
    let config = load(&closed.replace("[\"10.9.0.0/16\"]", "[]"), &[]).unwrap();
    assert_eq!(config.warnings, []);
}

#[test]
fn a_url_is_shown_without_its_password() {
    for (url, shown) in [
        ("nats://user:secret@a:4222,nats://secret@b:4222", "nats://***@a:4222,nats://***@b:4222"),
        ("nats://a:4222", "nats://a:4222"),
        ("embedded:", "embedded:"),
    ] {
        let text = format!("[bus]\nurl = \"{url}\"\nrequire_fsync = false");
        let listing = Config::from_toml_str(&text).unwrap().explain();
        assert!(listing.contains(&format!("url = \"{shown}\" # file")), "{listing}");
        assert!(!listing.contains("secret"), "{listing}");
    }
    for url in ["postgres://u:p@h/db?password=hush", "postgres://u:h@sh@h/db", "postgres://u:p@h/db?password=hu@sh"] {
        let listing = Config::from_toml_str(&format!("[store]\nurl = \"{url}\"")).unwrap().explain();
        assert!(listing.contains("url = \"postgres://***"), "{listing}");
        assert!(!["hush", "h@sh", "hu@sh", "u:p"].iter().any(|part| listing.contains(part)), "{listing}");
    }
}
