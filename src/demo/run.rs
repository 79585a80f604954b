//! Starts everything, makes the payment, then keeps serving.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::http::Caller;
use super::setup::{Keys, configuration, listen, start_wechat};
use super::{addresses, checkout, story};
use crate::app::{App, Listeners, Roles};
use crate::clock::Clock;
use crate::config::Log;
use crate::ops;
use crate::store::{Access, Role, Store};
use crate::telemetry;

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Stop after the payment; the exit status says whether all of it worked.
    #[arg(long)]
    pub once: bool,
    /// Folder of the demo's database.
    #[arg(long, value_name = "DIR", default_value = "data/demo")]
    pub data: PathBuf,
    /// Where the service listens; a free port if this one is taken.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Log filter for stderr: levels by module, like info,wxpay_worker=debug.
    #[arg(long, value_name = "FILTER", default_value = "warn")]
    pub log: String,
    /// For programs: one line of JSON with the addresses and keys on stdout when everything is up, the steps on stderr.
    #[arg(long)]
    pub json: bool,
}

/// Runs the demo until its payment is complete, or until `stop`.
// Boxed: what a program awaits is then compiled with this crate, and not once more with each program.
pub fn run(options: Options, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(demonstrate(options, stop))
}

async fn demonstrate(options: Options, stop: CancellationToken) -> anyhow::Result<()> {
    telemetry::init(&Log { json: false, filter: options.log.clone() })?;
    let data = std::path::absolute(&options.data)?;
    tokio::fs::create_dir_all(&data).await.with_context(|| format!("cannot make {}", data.display()))?;
    let keys = Keys::open(&data)?;
    let simulator = start_wechat(&data, &keys).await?;
    let wechat = simulator.base_url();
    let listener = listen(options.listen).await?;
    let address = listener.local_addr()?;
    let base = format!("http://{address}");
    let config = configuration(&data, &base, &simulator, &keys)?;
    let app = App::open(config, Clock::system()).await.context("the service does not start")?;
    let app = app.with_routes(checkout::routes(&wechat)?);
    let store = app.store.clone();
    let service_stop = CancellationToken::new();
    let listeners = Listeners { api: Some(listener), ..Listeners::default() };
    let mut service = tokio::spawn(app.run(Roles::ALL, listeners, service_stop.clone()));

    let parties = story::Parties {
        shop: Caller::new(&base, Some(keys.api_key.clone()))?,
        payer: Caller::new(&wechat, None)?,
        store: &store,
    };
    let mut out: Box<dyn Write + Send> =
        if options.json { Box::new(std::io::stderr()) } else { Box::new(std::io::stdout()) };
    let outcome = tokio::select! {
        outcome = story::tell(&parties, &mut *out) => outcome,
        () = stop.cancelled() => Err(anyhow::anyhow!("stopped")),
        ended = &mut service => bail!("the service ended: {ended:?}"),
    };
    if outcome.is_ok() && !options.once {
        let at = addresses::Addresses { base: &base, wechat: &wechat, console: &invitation(&store, &base).await? };
        if options.json {
            addresses::for_programs(&mut std::io::stdout(), &at, &keys)?;
        } else {
            addresses::for_people(&mut out, &at, &keys)?;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut service => bail!("the service ended: {ended:?}"),
        }
    }
    service_stop.cancel();
    service.await??;
    simulator.shutdown().await;
    outcome
}

/// Where the console's only user sets its password, once.
async fn invitation(store: &Store, base: &str) -> anyhow::Result<String> {
    let (operator, access) = (ops::users::local_operator(), Access::of(Role::Admin, None));
    let invited = ops::users::invite(store, &operator, None, ("demo", access), store.db().now().await?).await?;
    Ok(format!("{base}{}", ops::users::invitation_path(&invited.token)))
}
