//! A sound configuration and ways to load broken copies of it.

use std::path::Path;

use tempfile::TempDir;
use wxpay_worker::config::{Config, Problems};
use wxpay_worker::wechat::certificate;

pub const V2_KEY: &str = "Kq7vT2mZ9xB4nR6pL1wD8sF3hJ5gY0cA";
pub const APP_SECRET: &str = "8f3c1e7a5b9d2046f8e1c3a7b5d90246";
pub const SESSION_KEY: &str = "session-key-with-many-different-characters";
pub const PASSWORD: &str = "hunter2-of-the-database";
pub const STORE_URL: &str = "postgres://wxpay:hunter2-of-the-database@db.internal/wxpay";
pub const OWNER_URL: &str = "postgres://owner:hunter2-of-the-database@db.internal/wxpay";
pub const HASH: &str = "9b74c9897bac770ffc029102a200c5de5fa5c9f2b1a4d3e6c7f8091a2b3c4d5e";

/// A configuration with one of everything, in which a test breaks one line.
pub fn good() -> String {
    format!(
        r#"
[server]
public_url = "https://pay.shop.cn"
trusted_proxies = ["10.9.0.0/16"]
[store]
url = "{STORE_URL}"
migrate_url = "{OWNER_URL}"
[web]
callback_origins = ["https://m.shop.cn", "https://pay.shop.cn"]
session_key = "{SESSION_KEY}"
[[apps]]
key = "shop"
app_id = "wxd930ea5d5a258f4f"
kind = "official_account"
secret = "{APP_SECRET}"
[[merchants]]
key = "main"
mch_id = "10000100"
apps = ["shop"]
v2_key = "{V2_KEY}"
[[api_keys]]
name = "shop-backend"
hash = "sha256:{HASH}"
scopes = ["orders", "refunds", "ops"]
merchants = ["main"]
"#
    )
}

/// Every address of WeChat replaced by a simulator's.
pub const SANDBOX: &str = "[wechat]\npay_url = \"http://127.0.0.1:19001\"\n\
                           pay_backup_url = \"http://127.0.0.1:19001\"\napi_url = \"http://127.0.0.1:19001\"\n\
                           open_url = \"http://127.0.0.1:19001\"\n";

pub fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, Problems> {
    let dir = TempDir::new().unwrap();
    load_in(dir.path(), text, env)
}

pub fn load_in(dir: &Path, text: &str, env: &[(&str, &str)]) -> Result<Config, Problems> {
    let file = dir.join("wxpay.toml");
    std::fs::write(&file, text).unwrap();
    restrict(&file, 0o600);
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(&file), env, certificate::check)
}

pub fn restrict(file: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The one problem of a configuration, as `key: text`.
pub fn only_problem(result: Result<Config, Problems>) -> String {
    let problems = result.expect_err("it must be refused");
    assert_eq!(problems.len(), 1, "{problems}");
    problems.to_string()
}

pub fn assert_silent_about_secrets(text: &str) {
    for secret in [V2_KEY, APP_SECRET, SESSION_KEY, PASSWORD] {
        assert!(!text.contains(secret), "a secret shows in: {text}");
    }
}

/// [`good`] with texts replaced, each of which must be there.
pub fn good_but(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(good(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in the sound configuration");
        text.replacen(from, to, 1)
    })
}

/// Writes a file that only its owner may read; its path as it stands in a configuration.
pub fn write(dir: &Path, name: &str, content: &str) -> String {
    let file = dir.join(name);
    std::fs::write(&file, content).unwrap();
    restrict(&file, 0o600);
    file.display().to_string()
}
