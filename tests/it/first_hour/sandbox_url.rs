//! `wechat.sandbox_url`: every host of WeChat at once, and no half of it.

use std::path::Path;

use wxpay_worker::config::{Config, Problems};
use wxpay_worker::ids::MchId;
use wxpay_worker::sandbox::make_certificates;
use wxpay_worker::wechat::certificate;

const URL: &str = "http://127.0.0.1:19001";

fn load(folder: &Path, wechat: &str, env: &[(&str, &str)]) -> Result<Config, Problems> {
    let file = folder.join("wxpay.toml");
    std::fs::write(&file, format!("[wechat]\n{wechat}\n")).unwrap();
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(&file), env, certificate::check)
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    make_certificates(&folder.path().join("sandbox"), &[MchId::parse("10000100").unwrap()]).unwrap();
    folder
}

#[test]
fn one_address_stands_for_all_hosts_and_the_authority() {
    let folder = folder();
    let config = load(folder.path(), &format!("sandbox_url = \"{URL}\""), &[]).unwrap();
    let wechat = &config.wechat;
    for url in [&wechat.pay_url, &wechat.pay_backup_url, &wechat.api_url, &wechat.open_url] {
        assert_eq!(url, URL);
    }
    assert_eq!(wechat.refund_url.as_deref(), Some("https://127.0.0.1:19002"));
    assert_eq!(wechat.pay_ca_file.as_deref(), Some(&*folder.path().join("sandbox/ca.pem")));
    assert!(wechat.hosts().iter().all(|host| !host.is_wechats));
    let shown = config.explain();
    assert!(shown.contains(&format!("pay_url = \"{URL}\"")) && !shown.contains("weixin.qq.com"), "{shown}");
    // What is named beside it counts.
    let text = format!("sandbox_url = \"{URL}\"\nrefund_url = \"https://127.0.0.1:7777\"\npay_ca_file = \"own.pem\"");
    std::fs::copy(folder.path().join("sandbox/ca.pem"), folder.path().join("own.pem")).unwrap();
    let config = load(folder.path(), &text, &[]).unwrap();
    assert_eq!(config.wechat.refund_url.as_deref(), Some("https://127.0.0.1:7777"));
    assert_eq!(config.wechat.pay_ca_file.as_deref(), Some(&*folder.path().join("own.pem")));
    // By environment alone, too.
    let config = load(folder.path(), "", &[("WXPAY__WECHAT__SANDBOX_URL", "http://[::1]:19001")]).unwrap();
    assert_eq!(config.wechat.refund_url.as_deref(), Some("https://[::1]:19002"));
}

#[test]
fn half_a_sandbox_is_refused() {
    let folder = folder();
    let url = format!("sandbox_url = \"{URL}\"\n");
    let half = |more: &str| format!("{url}{more}");
    for (text, key, says) in [
        (half("pay_url = \"https://api.mch.weixin.qq.com\""), "wechat.pay_url: ", "beside sandbox_url"),
        (half("open_url = \"http://127.0.0.1:19001\""), "wechat.open_url: ", "beside sandbox_url"),
        (half("refund_url = \"https://api.mch.weixin.qq.com\""), "wechat.refund_url: ", "real money"),
        (half("pay_ca_file = \"gone.pem\""), "wechat.pay_ca_file: ", "cannot be read"),
        ("sandbox_url = \"https://api.mch.weixin.qq.com\"".into(), "wechat.sandbox_url: ", "WeChat itself"),
        ("sandbox_url = \"https://127.0.0.1:19001\"".into(), "wechat.sandbox_url: ", "http://HOST:PORT"),
        ("sandbox_url = \"http://127.0.0.1:19001/pay\"".into(), "wechat.sandbox_url: ", "origin"),
        ("sandbox_url = \"http://127.0.0.1:65535\"".into(), "wechat.sandbox_url: ", "refund_url"),
        ("sandbox_url = \"127.0.0.1:19001\"".into(), "wechat.sandbox_url: ", "URL"),
    ] {
        let problems = load(folder.path(), &text, &[]).expect_err(&text).to_string();
        assert!(problems.starts_with(key) && problems.contains(says), "{text}: {problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }
    let env = [("WXPAY__WECHAT__API_URL", "https://api.weixin.qq.com")];
    let problems = load(folder.path(), &url, &env).unwrap_err().to_string();
    assert!(problems.starts_with("wechat.api_url: ") && problems.contains("WXPAY__WECHAT__API_URL"), "{problems}");
}

#[test]
fn without_the_simulators_certificate_it_says_who_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let problems = load(folder.path(), &format!("sandbox_url = \"{URL}\""), &[]).unwrap_err().to_string();
    assert!(problems.starts_with("wechat.pay_ca_file: "), "{problems}");
    assert!(problems.contains("sandbox/ca.pem is not there: `wxpay-sandbox --config`"), "{problems}");
}

/// (section and key, address, whether it is refused)
const ADDRESSES: &[(&str, &str, bool)] = &[
    ("store.url", "postgres://u:p@db.example.com/wxpay", true),
    ("store.url", "postgres://u:p@8.8.8.8/wxpay", true),
    ("store.url", "postgres://u:p@10.0.0.1/wxpay?host=db.example.com", true),
    ("store.url", "postgres://u:p@db.example.com/wxpay?sslmode=require", true),
    ("store.url", "postgres://u:p@db.example.com/wxpay?sslmode=verify-full", false),
    ("store.url", "postgres://u:p@10.0.0.1/wxpay", false),
    ("store.url", "postgres://u:p@[fd00::1]/wxpay", false),
    ("store.url", "postgres://u:p@postgres:5432/wxpay", false),
    ("store.url", "postgres:///wxpay?host=/run/postgresql", false),
    ("bus.url", "nats://u:p@nats.example.com:4222", true),
    ("bus.url", "nats://10.0.0.1:4222,nats://8.8.8.8:4222", true),
    ("bus.url", "tls://nats.example.com:4222", false),
    ("bus.url", "nats://nats:4222", false),
];

#[test]
fn an_unchecked_certificate_of_a_server_on_the_internet_is_refused_unless_allowed() {
    for (name, url, is_refused) in ADDRESSES {
        let (section, _) = name.split_once('.').unwrap();
        let text = |allowed: &str| format!("[bus]\nrequire_fsync = false\n[{section}]\nurl = \"{url}\"\n{allowed}");
        let text = |allowed: &str| {
            text(allowed).replace("[bus]\nrequire_fsync = false\n[bus]", "[bus]\nrequire_fsync = false")
        };
        let loaded = Config::from_toml_str(&text(""));
        match (is_refused, loaded) {
            (true, Err(problems)) => {
                let said = problems.to_string();
                assert!(said.starts_with(&format!("{name}: ")) && said.contains("allow_unverified_tls"), "{said}");
                assert!(!said.contains("example.com") && !said.contains(":p@"), "{said}");
            }
            (false, Ok(_)) => {}
            (_, loaded) => panic!("{url}: {:?}", loaded.map(|_| "loaded")),
        }
        assert!(Config::from_toml_str(&text("allow_unverified_tls = true")).is_ok(), "{url}");
    }
}
