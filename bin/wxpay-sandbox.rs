//! `wxpay-sandbox`: the WeChat Pay simulator as a process of its own, for an SDK in any language.
//!
//! Without arguments it serves the merchant of WeChat's public signing example and listens on loopback only.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Parser;
use tokio::net::TcpListener;
use wxpay_worker::config::{App, AppKind, Config, Log, Merchant, SANDBOX_FOLDER, process_env};
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::sandbox::{Account, Options, PlatformApp, PlatformKind, Sandbox, Settings, make_certificates};
use wxpay_worker::secret::V2Key;
use wxpay_worker::telemetry;
use wxpay_worker::wechat::certificate;

/// The WeChat Pay simulator: speaks API v2 and the platform API, checks what WeChat checks, pays on request,
/// posts notifications.
#[derive(Debug, Parser)]
#[command(name = "wxpay-sandbox", version)]
struct Arguments {
    /// Where to listen. Anyone who can reach it can "pay": keep it on loopback or a private network. By default where
    /// wechat.sandbox_url of the configuration says, else 127.0.0.1:19001.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Where to listen with TLS, which refunds need. By default the next port of the same address.
    #[arg(long)]
    tls_listen: Option<SocketAddr>,
    /// A name of this host, by which it may be called and for the certificate of that listener; may be repeated.
    /// Addresses, and names without a dot or of the inside, may always be used.
    #[arg(long)]
    tls_name: Vec<String>,
    /// Keeps certificates in this folder: ca.pem for clients, and apiclient_cert.pem, apiclient_key.pem and
    /// apiclient_cert.p12 (password: the mch_id) for the merchant, in a folder each when there are several. With a
    /// wechat.sandbox_url in the configuration: the folder sandbox beside it.
    #[arg(long, value_name = "DIR")]
    certificates: Option<PathBuf>,
    /// Reads merchants and apps from the service's own configuration: file and `WXPAY__…` environment. One that calls
    /// WeChat itself is refused.
    #[arg(long, conflicts_with_all = ["mch_id", "appid", "v2_key_file"])]
    config: Option<PathBuf>,
    /// The merchant's number.
    #[arg(long, requires = "appid", requires = "v2_key_file")]
    mch_id: Option<String>,
    /// An app bound to the merchant; may be repeated.
    #[arg(long, requires = "mch_id")]
    appid: Vec<String>,
    /// A file that holds the merchant's APIv2 key.
    #[arg(long, requires = "mch_id")]
    v2_key_file: Option<PathBuf>,
    /// Divides WeChat's own durations: repeats of notifications, life of a prepay_id. 1 is real time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    time_scale: u32,
    /// Seed of the random faults and of the numbers issued.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A journal file: orders and payments survive a restart. With a wechat.sandbox_url in the configuration:
    /// sandbox/wechat.jsonl beside it.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Log filter for stderr: levels by module, like info,wxpay_worker::sandbox=debug.
    #[arg(long, default_value = "warn")]
    log: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    telemetry::init(&Log { json: false, filter: arguments.log.clone() })?;
    let Start { settings, listen, certificates, state } = start(&arguments)?;
    let settings = Settings { time_scale: arguments.time_scale, seed: arguments.seed, ..settings };
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let names: Vec<String> = settings
        .merchants
        .iter()
        .map(|m| {
            let appids: Vec<&str> = m.appids.iter().map(AppId::as_str).collect();
            format!("mch_id {} (appid {})", m.mch_id, appids.join(", "))
        })
        .collect();
    // The example's keys are in the source as well; all others are not shown.
    let is_example = arguments.config.is_none() && arguments.mch_id.is_none();
    let apps: Vec<String> = settings.apps.iter().map(|app| described(app, is_example)).collect();
    let next_port =
        if listen.port() == 0 { 0 } else { listen.port().checked_add(1).context("no port is left for TLS")? };
    let options = Options {
        state,
        tls_listen: Some(arguments.tls_listen.unwrap_or_else(|| SocketAddr::new(listen.ip(), next_port))),
        tls_names: arguments.tls_name,
        certificates,
        ..Options::default()
    };
    let running = Sandbox::start_with(listener, settings, options).await?;
    let base = running.base_url();
    let mut out = std::io::stdout().lock();
    writeln!(out, "wxpay-sandbox listening on {base}")?;
    writeln!(out, "  pay API   {base}/pay/unifiedorder  /pay/orderquery  /pay/closeorder")?;
    writeln!(out, "  refunds   {}/secapi/pay/refund  {base}/pay/refundquery", running.refund_base_url())?;
    writeln!(out, "  platform  {base}/cgi-bin/…  /sns/…  /wxa/…  login page {base}/connect/oauth2/authorize")?;
    writeln!(out, "  script    {base}/_sandbox/jweixin.js")?;
    writeln!(out, "  cashier   {base}/_sandbox/cashier?prepay_id=…")?;
    writeln!(out, "  control   {base}/_sandbox/ lists all of it: pay, cancel, notify, ledger, requests, faults, …")?;
    for name in names {
        writeln!(out, "  merchant  {name}")?;
    }
    for app in apps {
        writeln!(out, "  app       {app}")?;
    }
    out.flush()?;
    drop(out);
    stop_requested().await?;
    running.shutdown().await;
    Ok(())
}

fn described(app: &PlatformApp, with_secret: bool) -> String {
    let kind = match app.kind {
        PlatformKind::OfficialAccount => "official account",
        PlatformKind::MiniProgram => "mini program",
    };
    let secret = if with_secret { format!(" (secret {})", app.secret.expose()) } else { String::new() };
    format!("{kind} {}{secret}", app.appid)
}

/// What is started, and where.
struct Start {
    settings: Settings,
    listen: SocketAddr,
    certificates: Option<PathBuf>,
    state: Option<PathBuf>,
}

fn start(arguments: &Arguments) -> anyhow::Result<Start> {
    let default = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 19001);
    let (certificates, state) = (arguments.certificates.clone(), arguments.state.clone());
    let Some(path) = &arguments.config else {
        let listen = arguments.listen.unwrap_or(default);
        return Ok(Start { settings: named(arguments)?, listen, certificates, state });
    };
    let folder = path.parent().unwrap_or(Path::new("")).join(SANDBOX_FOLDER);
    let simulated = Config::simulated(Some(path), process_env())?;
    let (certificates, state) = match &simulated {
        // Of a configuration that was written for one.
        Some(_) => {
            let journal = folder.join("wechat.jsonl");
            (Some(certificates.unwrap_or(folder)), Some(state.unwrap_or(journal)))
        }
        None => (certificates, state),
    };
    // The configuration names these files, and is not usable without them.
    if let (Some(merchants), Some(folder)) = (&simulated, &certificates) {
        make_certificates(folder, merchants)
            .map_err(|why| anyhow::anyhow!("the certificates are not usable: {why}"))?;
    }
    let config = Config::load(Some(path), process_env(), certificate::check)?;
    let hosts = config.wechat.hosts();
    let real: Vec<String> =
        hosts.iter().filter(|host| host.is_wechats).map(|host| format!("wechat.{}", host.key)).collect();
    if !real.is_empty() {
        bail!(
            "{} calls WeChat itself ({}), so its keys are real, and a simulator gives out what it knows: use a \
             configuration of its own, with wechat.sandbox_url (`wxpayd init sandbox` writes one)",
            path.display(),
            real.join(", ")
        );
    }
    let listen = arguments.listen.or_else(|| config.wechat.sandbox_address()).unwrap_or(default);
    Ok(Start { settings: configured(&config), listen, certificates, state })
}

/// The merchant of the arguments, or the example's.
fn named(arguments: &Arguments) -> anyhow::Result<Settings> {
    let Some(mch_id) = &arguments.mch_id else {
        return Ok(Settings::example());
    };
    let Some(path) = &arguments.v2_key_file else {
        bail!("--v2-key-file is needed with --mch-id");
    };
    let appids = arguments.appid.iter().map(|text| AppId::parse(text.as_str())).collect::<Result<_, _>>()?;
    let merchant = Account { mch_id: MchId::parse(mch_id.as_str())?, v2_key: key(path)?, appids };
    Ok(Settings { merchants: vec![merchant], ..Settings::default() })
}

/// The service's merchants, each with the apps it names, and the apps that have a secret.
fn configured(config: &Config) -> Settings {
    let account = |merchant: &Merchant| Account {
        mch_id: merchant.mch_id.clone(),
        v2_key: merchant.v2_key.clone(),
        appids: merchant.apps.iter().filter_map(|app| Some(config.app(app.as_str())?.app_id.clone())).collect(),
    };
    let app = |app: &App| {
        let kind = match app.kind {
            AppKind::OfficialAccount => PlatformKind::OfficialAccount,
            AppKind::MiniProgram => PlatformKind::MiniProgram,
            AppKind::Mobile => return None,
        };
        Some(PlatformApp::new(kind, app.app_id.clone(), app.secret.clone()?))
    };
    Settings {
        merchants: config.merchants.iter().map(account).collect(),
        apps: config.apps.iter().filter_map(app).collect(),
        ..Settings::default()
    }
}

fn key(path: &Path) -> anyhow::Result<V2Key> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    V2Key::parse(text.trim_ascii()).map_err(|rule| anyhow::anyhow!("{}: {rule}", path.display()))
}

async fn stop_requested() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
