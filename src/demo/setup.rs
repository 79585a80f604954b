//! The parts of the demo: the simulator, and the configuration that an installation would write in its file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::ids::{AppId, MchId};
use crate::sandbox;
use crate::sandbox::{Account, PlatformApp, PlatformKind, Running, Sandbox, Settings};
use crate::secret::{Secret, V2Key, random_text, sha256_hex};

/// The app, and the merchant it belongs to: the numbers of WeChat's public examples.
pub const APP_ID: &str = "wxd930ea5d5a258f4f";
/// See [`APP_ID`].
pub const MCH_ID: &str = "10000100";

/// The shop as payers know it.
pub const MERCHANT_NAME: &str = "演示商店";

/// Secrets of the demo.
pub struct Keys {
    /// Signs the messages between merchant and WeChat. Kept beside the database: work that a killed demo left
    /// unfinished must be signed with it by the next one.
    pub v2_key: String,
    /// The official account's, for logins and tokens.
    pub app_secret: String,
    /// Seals session cookies and stored tokens. New in each run, so that tokens of the last simulator, which the new
    /// one does not know, cannot be read.
    pub session_key: String,
    /// The shop's.
    pub api_key: String,
}

impl Keys {
    /// The merchant's key of the last demo in this folder, or a new one; all others are this run's own.
    pub fn open(data: &Path) -> anyhow::Result<Keys> {
        Ok(Keys {
            v2_key: kept_key(&data.join("v2_key.txt"))?,
            app_secret: random_text(32),
            session_key: random_text(48),
            api_key: format!("demo-{}", random_text(24)),
        })
    }
}

fn kept_key(file: &Path) -> anyhow::Result<String> {
    let unusable = || format!("cannot keep the demo's key in {}", file.display());
    match std::fs::read_to_string(file) {
        Ok(key) => return Ok(key),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).with_context(unusable),
    }
    let key = random_text(32);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut kept = options.open(file).with_context(unusable)?;
    std::io::Write::write_all(&mut kept, key.as_bytes()).with_context(unusable)?;
    Ok(key)
}

/// The folder of the merchant's certificate: written by the simulator, read by the service.
fn certificates(data: &Path) -> PathBuf {
    data.join("certificates")
}

/// Starts the simulator. Its ledger is kept beside the service's database, so that both know the same earlier orders.
pub async fn start_wechat(data: &Path, keys: &Keys) -> anyhow::Result<Running> {
    let account = Account {
        mch_id: MchId::parse(MCH_ID)?,
        v2_key: V2Key::parse(&keys.v2_key).map_err(anyhow::Error::msg)?,
        appids: vec![AppId::parse(APP_ID)?],
    };
    let app =
        PlatformApp::new(PlatformKind::OfficialAccount, AppId::parse(APP_ID)?, Secret::new(keys.app_secret.as_str()));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let settings = Settings {
        merchants: vec![account],
        merchant_names: BTreeMap::from([(MCH_ID.to_owned(), MERCHANT_NAME.to_owned())]),
        apps: vec![app],
        seed: u64::from(std::process::id()),
        ..Settings::default()
    };
    let options = sandbox::Options {
        state: Some(data.join("wechat.jsonl")),
        certificates: Some(certificates(data)),
        ..sandbox::Options::default()
    };
    Ok(Sandbox::start_with(listener, settings, options).await?)
}

/// The requested address, or a free port if it is in use.
pub async fn listen(wanted: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await?)
        }
        Err(e) => Err(e).with_context(|| format!("cannot listen on {wanted}")),
    }
}

/// The configuration of a shop with one official account, whose pages are the demo's own.
pub fn configuration(data: &Path, base: &str, simulator: &Running, keys: &Keys) -> anyhow::Result<Config> {
    let Keys { v2_key, app_secret, session_key, api_key } = keys;
    let hash = sha256_hex(api_key.as_bytes());
    let (wechat, refunds) = (simulator.base_url(), simulator.refund_base_url());
    // A JSON string is also a valid TOML string.
    let file = |name: &str| Value::from(certificates(data).join(name).to_string_lossy()).to_string();
    let (ca, cert, key) = (file("ca.pem"), file("apiclient_cert.pem"), file("apiclient_key.pem"));
    let mut config = Config::from_toml_str(&format!(
        r#"
        [server]
        public_url = "{base}"
        [wechat]
        pay_url = "{wechat}"
        pay_backup_url = "{wechat}"
        refund_url = "{refunds}"
        pay_ca_file = {ca}
        api_url = "{wechat}"
        open_url = "{wechat}"
        [web]
        callback_origins = ["{base}"]
        session_key = "{session_key}"
        wallet_description = "wxpay-worker 演示"
        [console]
        enabled = true
        [[apps]]
        key = "shop"
        app_id = "{APP_ID}"
        kind = "official_account"
        secret = "{app_secret}"
        [[merchants]]
        key = "main"
        mch_id = "{MCH_ID}"
        apps = ["shop"]
        api = "v2"
        sign_type = "HMAC-SHA256"
        v2_key = "{v2_key}"
        client_cert_file = {cert}
        client_key_file = {key}
        [[api_keys]]
        name = "demo"
        hash = "sha256:{hash}"
        scopes = ["orders", "refunds", "finance", "ops"]
        "#
    ))?;
    // No other version of the program runs on this folder.
    config.store.compact = true;
    config.store.url = Secret::new(format!("sqlite://{}", data.join("wxpay.db").display()));
    Ok(config)
}
