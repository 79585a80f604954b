//! Starting everything, telling the story, serving on.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::http::Caller;
use super::story;
use crate::app::{App, Listeners, Roles};
use crate::clock::Clock;
use crate::config::{Config, Log};
use crate::sandbox::{Account, Running, Sandbox, Settings};
use crate::secret::{Secret, V2Key, random_text, sha256_hex};
use crate::telemetry;

const APP_ID: &str = "wxd930ea5d5a258f4f";
const MCH_ID: &str = "10000100";

/// What the demo can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Stop after the payment; the exit status says whether all of it worked.
    #[arg(long)]
    pub once: bool,
    /// Where the demo keeps its database.
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    pub data: PathBuf,
    /// Where the service listens; a free port if this one is taken.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// What is written to stderr besides: levels by module, like info,wxpay_worker=debug.
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    pub log: String,
}

/// Runs the demo until its story is told, or on until `stop`.
pub async fn run(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    telemetry::init(&Log { json: false, filter: options.log.clone() })?;
    let v2_key = random_text(32);
    let api_key = format!("demo-{}", random_text(24));
    let (wechat, simulator) = start_wechat(&v2_key).await?;
    let listener = listen(options.listen).await?;
    let address = listener.local_addr()?;
    let base = format!("http://{address}");
    let config = configuration(&options.data, &base, &wechat, &v2_key, &api_key)?;
    let app = App::open(config, Clock::system()).await.context("the service does not start")?;
    let store = app.store.clone();
    let service_stop = CancellationToken::new();
    let listeners = Listeners { api: Some(listener), admin: None };
    let mut service = tokio::spawn(app.run(Roles::ALL, listeners, service_stop.clone()));

    let parties = story::Parties {
        shop: Caller::new(&base, Some(api_key.clone()))?,
        payer: Caller::new(&wechat, None)?,
        store: &store,
    };
    let told = tokio::select! {
        told = story::tell(&parties) => told,
        () = stop.cancelled() => Err(anyhow::anyhow!("stopped")),
        ended = &mut service => bail!("the service ended: {ended:?}"),
    };
    if told.is_ok() && !options.once {
        addresses(&base, &wechat, &api_key)?;
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut service => bail!("the service ended: {ended:?}"),
        }
    }
    service_stop.cancel();
    service.await??;
    simulator.shutdown().await;
    told
}

async fn start_wechat(v2_key: &str) -> anyhow::Result<(String, Running)> {
    let account = Account {
        mch_id: crate::ids::MchId::parse(MCH_ID)?,
        v2_key: V2Key::parse(v2_key).map_err(anyhow::Error::msg)?,
        appids: vec![crate::ids::AppId::parse(APP_ID)?],
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let settings = Settings { merchants: vec![account], seed: u64::from(std::process::id()), ..Settings::default() };
    let running = Sandbox::start(listener, settings).await?;
    Ok((running.base_url(), running))
}

/// The wanted address, or a free port beside whatever has it.
async fn listen(wanted: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(wanted).await {
        Ok(listener) => Ok(listener),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(TcpListener::bind(SocketAddr::new(wanted.ip(), 0)).await?)
        }
        Err(e) => Err(e).with_context(|| format!("cannot listen on {wanted}")),
    }
}

/// What a real installation would write in its file.
fn configuration(data: &Path, base: &str, wechat: &str, v2_key: &str, api_key: &str) -> anyhow::Result<Config> {
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
        [[apps]]
        key = "shop"
        app_id = "{APP_ID}"
        kind = "official_account"
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

fn addresses(base: &str, wechat: &str, api_key: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nServing until Ctrl-C. Try it:\n")?;
    writeln!(out, "  KEY={api_key}")?;
    writeln!(
        out,
        "  curl -s -H \"Authorization: Bearer $KEY\" -H 'Content-Type: application/json' {base}/v1/orders \\"
    )?;
    writeln!(
        out,
        "    -d '{{\"order_no\":\"MINE0001\",\"amount_fen\":100,\"description\":\"a coffee\",\"trade_type\":\"MWEB\",\
         \"scene_info\":{{\"h5_info\":{{\"type\":\"Wap\",\"wap_url\":\"https://example.com\",\"wap_name\":\"demo\"}}}}}}'"
    )?;
    writeln!(out, "  then open its mweb_url in a browser and pay, and look again:")?;
    writeln!(out, "  curl -s -H \"Authorization: Bearer $KEY\" {base}/v1/orders/MINE0001\n")?;
    writeln!(out, "  the payer's page   {wechat}/_sandbox/cashier?out_trade_no=MINE0001")?;
    writeln!(out, "  WeChat's ledger    {wechat}/_sandbox/ledger")?;
    writeln!(out, "  events             {base}/v1/events   (with the key)")?;
    writeln!(out, "  health, metrics    {base}/readyz   {base}/metrics")?;
    Ok(out.flush()?)
}
