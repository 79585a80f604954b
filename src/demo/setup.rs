//! What the demo is made of: the simulator and the configuration a real installation would write in its file.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::config::Config;
use crate::ids::{AppId, MchId};
use crate::sandbox::{self, Account, PlatformApp, PlatformKind, Running, Sandbox, Settings};
use crate::secret::{Secret, V2Key, random_text, sha256_hex};

/// The app, and the merchant it belongs to: the numbers of WeChat's public examples.
pub const APP_ID: &str = "wxd930ea5d5a258f4f";
/// See [`APP_ID`].
pub const MCH_ID: &str = "10000100";

/// Secrets of one run; nothing of them is kept.
pub struct Keys {
    /// Signs both ways between merchant and WeChat.
    pub v2_key: String,
    /// The official account's, for logins and tokens.
    pub app_secret: String,
    /// Seals session cookies and stored tokens. With a new one the tokens of the last simulator are unreadable, as they should
    /// be: the new one does not know them.
    pub session_key: String,
    /// The shop's.
    pub api_key: String,
}

impl Keys {
    /// New ones.
    pub fn new() -> Keys {
        Keys {
            v2_key: random_text(32),
            app_secret: random_text(32),
            session_key: random_text(48),
            api_key: format!("demo-{}", random_text(24)),
        }
    }
}

/// Starts the simulator. Its ledger lies beside the service's database: an order of yesterday is known to both or to neither.
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
        apps: vec![app],
        seed: u64::from(std::process::id()),
        ..Settings::default()
    };
    tokio::fs::create_dir_all(data).await.with_context(|| format!("cannot make {}", data.display()))?;
    let options = sandbox::Options { state: Some(data.join("wechat.jsonl")), ..sandbox::Options::default() };
    Ok(Sandbox::start_with(listener, settings, options).await?)
}

/// The wanted address, or a free port beside whatever has it.
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
pub fn configuration(data: &Path, base: &str, wechat: &str, keys: &Keys) -> anyhow::Result<Config> {
    let Keys { v2_key, app_secret, session_key, api_key } = keys;
    let hash = sha256_hex(api_key.as_bytes());
    let mut config = Config::from_toml_str(&format!(
        r#"
        [server]
        public_url = "{base}"
        [wechat]
        pay_url = "{wechat}"
        pay_backup_url = "{wechat}"
        api_url = "{wechat}"
        open_url = "{wechat}"
        [web]
        callback_origins = ["{base}"]
        session_key = "{session_key}"
        wallet_description = "wxpay-worker 演示"
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
        [[api_keys]]
        name = "demo"
        hash = "sha256:{hash}"
        scopes = ["orders", "finance", "ops"]
        "#
    ))?;
    config.store.url = Secret::new(format!("sqlite://{}", data.join("wxpay.db").display()));
    Ok(config)
}
