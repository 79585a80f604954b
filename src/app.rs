//! The composition root: from a configuration to running roles, and from a signal to a clean shutdown.
//!
//! Every role can run in a separate process; roles share only the database and the bus.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::bus;
use crate::bus::{Bus, ConnectError};
use crate::clock::Clock;
use crate::config::{Config, ConfigHandle, Problems, Reload, ReloadOutcome};
use crate::console;
use crate::http;
use crate::http::{CannotListen, HttpShared, Ingress, Listeners};
use crate::new_order::PlaceHere;
use crate::scheduler;
use crate::secret::random_text;
use crate::store::{DbError, Store};
use crate::telemetry;
use crate::telemetry::{Metrics, MetricsError};
use crate::wechat::certificate;
use crate::wechat::platform::PlatformClient;
use crate::wechat::transport::{Client, ClientError};
use crate::worker::{RefundClientError, RefundClients};
use crate::{reference, relay, web, webhooks, worker};

/// How often the clock is synchronised with the database's.
const CLOCK_SET_EVERY: Duration = Duration::from_secs(5);

/// Which parts of the service a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// The HTTP side.
    pub ingress: bool,
    /// The handlers of the bus.
    pub worker: bool,
    /// Outbox to bus.
    pub relay: bool,
    /// Jobs that are due by time.
    pub scheduler: bool,
}

impl Roles {
    pub const ALL: Roles = Roles { ingress: true, worker: true, relay: true, scheduler: true };

    /// From a list like `worker,relay`.
    pub fn parse(text: &str) -> Result<Roles, String> {
        let mut roles = Roles { ingress: false, worker: false, relay: false, scheduler: false };
        for name in text.split(',').map(str::trim) {
            match name {
                "ingress" => roles.ingress = true,
                "worker" => roles.worker = true,
                "relay" => roles.relay = true,
                "scheduler" => roles.scheduler = true,
                other => return Err(format!("{other:?} is not a role; roles are ingress, worker, relay, scheduler")),
            }
        }
        Ok(roles)
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all =
            [(self.ingress, "ingress"), (self.worker, "worker"), (self.relay, "relay"), (self.scheduler, "scheduler")];
        let names: Vec<&str> = all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
        f.write_str(&names.join(","))
    }
}

/// Why the service does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Store(#[from] DbError),
    #[error(transparent)]
    Bus(#[from] ConnectError),
    #[error(transparent)]
    Wechat(#[from] ClientError),
    #[error(transparent)]
    RefundClients(#[from] RefundClientError),
    #[error(transparent)]
    Webhooks(#[from] webhooks::SenderError),
    #[error(transparent)]
    Listen(#[from] CannotListen),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error("{0} stopped: {1}")]
    Role(&'static str, String),
    #[error("work in progress did not end within {0:?}; it is redelivered after the next start")]
    Slow(Duration),
}

/// The service, open and ready to run.
pub struct App {
    pub config: ConfigHandle,
    pub store: Store,
    pub bus: Bus,
    /// The queue's properties, as found when connecting.
    pub bus_report: bus::Report,
    /// The database's time.
    pub clock: Clock,
    wechat: Client,
    refund_clients: RefundClients,
    platform: PlatformClient,
    webhooks: webhooks::Maker,
    metrics: Metrics,
    /// Beside the API's own.
    routes: axum::Router,
}

impl App {
    /// Opens the database, the bus and the clients for WeChat.
    // Boxed: what a program awaits is then compiled with this crate, and not once more with each program.
    pub fn open(config: Config, clock: Clock) -> BoxFuture<'static, Result<App, AppError>> {
        Box::pin(App::opened(config, clock))
    }

    async fn opened(config: Config, clock: Clock) -> Result<App, AppError> {
        config.check_runnable()?;
        for warning in &config.warnings {
            tracing::warn!(%warning, "the configuration");
        }
        let metrics = Metrics::install()?;
        let store = Store::open(&config.store).await?;
        set_clock(&clock, &store).await?;
        let (bus, bus_report) = Bus::connect(&config.bus, Some(store.db().clone())).await?;
        for warning in &bus_report.warnings {
            tracing::warn!(warning, "the bus");
        }
        tracing::info!(
            kind = bus_report.kind,
            version = bus_report.version,
            sync = ?bus_report.sync,
            atomic_batches = bus_report.atomic_batches,
            "the bus is connected"
        );
        let wechat = Client::new(&config.wechat)?;
        let refund_clients = RefundClients::open(&config, &wechat)?;
        let platform = PlatformClient::new(&config.wechat)?;
        let config = ConfigHandle::new(config);
        let sender = webhooks::Sender::new(config.clone())?;
        let webhooks = webhooks::Maker { store: store.clone(), sender, clock: clock.clone() };
        let routes = axum::Router::new();
        Ok(App { config, store, bus, bus_report, clock, wechat, refund_clients, platform, webhooks, metrics, routes })
    }

    /// Serves these routes on the API's listener, without the API's checks. They cannot replace the API's own paths.
    #[must_use]
    pub fn with_routes(self, routes: axum::Router) -> App {
        App { routes: self.routes.merge(routes), ..self }
    }

    /// Reads the configuration anew while the roles run.
    pub fn reloader(&self) -> Reloader {
        let (config, refund_clients) = (self.config.clone(), self.refund_clients.clone());
        Reloader { config, refund_clients, wechat: self.wechat.clone(), clock: self.clock.clone() }
    }

    /// Runs the roles until cancelled or until one of them fails, then lets work in progress finish.
    pub fn run(
        self,
        roles: Roles,
        listeners: Listeners,
        cancel: CancellationToken,
    ) -> BoxFuture<'static, Result<(), AppError>> {
        Box::pin(self.run_roles(roles, listeners, cancel))
    }

    async fn run_roles(self, roles: Roles, listeners: Listeners, cancel: CancellationToken) -> Result<(), AppError> {
        let holder = format!("{}-{}", std::process::id(), random_text(8));
        let stop = cancel.child_token();
        let settings = self.config.snapshot();
        let mut running: JoinSet<Result<(), AppError>> = JoinSet::new();
        let workers = roles.worker.then(|| self.worker_context());
        let placer = workers.clone().map(|ctx| worker::OrderPlacer::new(ctx, settings.store.lease));
        self.start_http(&mut running, listeners, placer, &stop);
        running.spawn(keep_time(self.clock.clone(), self.store.clone(), stop.clone()));
        if let Some(ctx) = workers {
            let (lease, tools) = (settings.store.lease, (self.bus.clone(), self.webhooks.clone()));
            keep(&mut running, worker::run_replays(ctx.clone(), tools, lease, holder.clone(), stop.clone()));
            let (bus, stop) = (self.bus.clone(), stop.clone());
            running.spawn(async move {
                worker::run(ctx, bus, stop).await.map_err(|e| AppError::Role("worker", e.to_string()))
            });
        }
        if roles.relay {
            let (store, bus, clock) = (self.store.clone(), self.bus.clone(), self.clock.clone());
            let work = relay::run(store, bus, clock, settings.store.lease, holder.clone(), stop.clone());
            let webhooks = webhooks::run(self.webhooks.clone(), settings.store.lease, holder.clone(), stop.clone());
            keep(&mut running, async move { _ = tokio::join!(work, webhooks) });
        }
        if roles.scheduler {
            let parts = scheduler::Parts {
                config: self.config.clone(),
                store: self.store,
                bus: self.bus,
                wechat: self.wechat,
                platform: self.platform,
                clock: self.clock,
            };
            let work = scheduler::run(parts, holder, stop.clone());
            running.spawn(async move { work.await.map_err(|e| AppError::Role("scheduler", e.to_string())) });
        }
        // The HTTP side closes remaining connections at this timeout; the supervisor waits a little longer.
        supervise(running, stop, settings.server.shutdown_timeout + Duration::from_secs(1)).await
    }

    fn worker_context(&self) -> worker::Context {
        let App { config, store, wechat, refund_clients, clock, .. } = self;
        let (config, refund_clients) = (config.clone(), refund_clients.clone());
        worker::Context::new(config, store.clone(), wechat.clone(), refund_clients, clock.clone())
    }

    fn start_http(
        &self,
        running: &mut JoinSet<Result<(), AppError>>,
        listeners: Listeners,
        placer: Option<worker::OrderPlacer>,
        stop: &CancellationToken,
    ) {
        if let Some(placer) = placer.clone() {
            keep(running, placer.until_done(stop.clone()));
        }
        let metrics = self.metrics.clone();
        let ingress = Ingress {
            config: self.config.clone(),
            store: self.store.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
            wechat: self.wechat.clone(),
            webhooks: self.webhooks.clone(),
            metrics: Arc::new(move || metrics.render()),
            shutdown: stop.clone(),
            place_here: placer.map(|placer| Arc::new(placer) as Arc<dyn PlaceHere>),
        };
        let state = Arc::new(HttpShared::new(ingress));
        let admin = http::admin_router(Arc::clone(&state), reference::problem_routes());
        let admin = listeners.admin.map(|listener| (listener, admin));
        let console = listeners.console.map(|listener| (listener, console::own_router(Arc::clone(&state))));
        let notify = listeners.notify.map(|listener| (listener, http::notify_router(Arc::clone(&state))));
        let api = listeners.api.map(|listener| {
            let mut others = web::routes(Arc::clone(&state), self.platform.clone()).merge(reference::routes());
            let settings = &state.snapshot().console;
            if settings.enabled && settings.listen.is_none() {
                others = others.merge(console::routes(Arc::clone(&state)));
            }
            (listener, http::router(state, others).merge(self.routes.clone()))
        });
        let settings = self.config.snapshot();
        let server = http::within_files(&settings.server, settings.store.max_connections);
        let of_all = server.max_connections;
        let (server, of_notifications) = http::shared_with_notifications(server);
        let notify =
            notify.map(|(listener, router)| (listener, router, of_notifications.unwrap_or_else(|| server.clone())));
        let others = [admin, console, api].into_iter().flatten();
        let others = others.map(|(listener, router)| (listener, router, server.clone()));
        for (listener, router, server) in others.chain(notify) {
            let (in_force, stop) = (self.config.clone(), stop.clone());
            keep(running, async move { http::serve(listener, router, (&server, of_all), in_force, stop).await });
        }
        let (metrics, stop) = (self.metrics.clone(), stop.clone());
        keep(running, async move { metrics.upkeep(&stop).await });
    }
}

/// Runs a part that ends without an error when it is stopped.
fn keep(running: &mut JoinSet<Result<(), AppError>>, part: impl Future<Output = ()> + Send + 'static) {
    running.spawn(part.map(Ok));
}

/// Puts another configuration in force: all of it or nothing.
pub struct Reloader {
    config: ConfigHandle,
    refund_clients: RefundClients,
    wechat: Client,
    clock: Clock,
}

impl Reloader {
    /// Reads file, secrets and certificates anew. Whatever is wrong with them, the configuration in force stays; how
    /// it ended is in the log, in a metric and in `/readyz`.
    pub fn reload(&self, file: Option<&Path>, env: impl Iterator<Item = (String, String)>) {
        let mut outcome = ReloadOutcome { at: self.clock.now(), refused: None, needs_restart: Vec::new() };
        let result = match self.read(file, env) {
            Ok((Reload { config, changed, needs_restart }, refund_clients)) => {
                for warning in &config.warnings {
                    tracing::warn!(%warning, "the configuration");
                }
                tracing::info!(
                    ?changed,
                    ?needs_restart,
                    config_hash = config.hash(),
                    "The configuration was read anew"
                );
                self.refund_clients.replace(&refund_clients);
                self.config.replace(config);
                outcome.needs_restart = needs_restart;
                "applied"
            }
            Err(error) => {
                tracing::error!(%error, "The configuration was refused: what was in force stays");
                outcome.refused = Some(error.to_string());
                "refused"
            }
        };
        metrics::counter!(telemetry::CONFIG_RELOADS_TOTAL, "result" => result).increment(1);
        self.config.note_reload(outcome);
    }

    fn read(
        &self,
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<(Reload, RefundClients), AppError> {
        let reload = self.config.snapshot().reload(file, env, certificate::check)?;
        let refund_clients = RefundClients::open(&reload.config, &self.wechat)?;
        Ok((reload, refund_clients))
    }
}

/// Sets the clock to the database's, which all processes share: each reads times that others wrote.
async fn set_clock(clock: &Clock, store: &Store) -> Result<(), DbError> {
    let asked = Instant::now();
    if let Some(ahead_ms) = clock.set_by(store.db().now().await?, asked) {
        tracing::warn!(ahead_ms, "this host's clock differs from the database's, which is used");
    }
    Ok(())
}

/// Keeps the clock synchronised. While the database is unavailable, the last offset stays in use.
async fn keep_time(clock: Clock, store: Store, stop: CancellationToken) -> Result<(), AppError> {
    while stop.run_until_cancelled(tokio::time::sleep(CLOCK_SET_EVERY)).await.is_some() {
        // A connection that stopped answering must delay neither the next attempt nor the shutdown.
        let set = tokio::time::timeout(CLOCK_SET_EVERY, set_clock(&clock, &store));
        match stop.run_until_cancelled(set).await {
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(e))) => tracing::debug!(error = %e, "the clock cannot be set"),
            Some(Err(_)) => tracing::debug!("reading the database's clock timed out"),
            None => break,
        }
    }
    Ok(())
}

/// Waits until stopped or until a role fails; then for the other roles, at most for the grace period.
async fn supervise(
    mut running: JoinSet<Result<(), AppError>>,
    stop: CancellationToken,
    grace: Duration,
) -> Result<(), AppError> {
    let mut outcome = Ok(());
    let ended = |joined: Result<Result<(), AppError>, tokio::task::JoinError>| match joined {
        Ok(result) => result,
        Err(e) => Err(AppError::Role("a role", e.to_string())),
    };
    while !stop.is_cancelled() {
        tokio::select! {
            () = stop.cancelled() => {}
            joined = running.join_next() => match joined {
                Some(joined) => {
                    // A role that ends before it was stopped is a fault, also without an error.
                    if !stop.is_cancelled() {
                        let role = AppError::Role("a role", "it ended without being stopped".into());
                        outcome = ended(joined).and(Err(role));
                    }
                    stop.cancel();
                }
                None => return outcome,
            },
        }
    }
    let rest = async {
        while let Some(joined) = running.join_next().await {
            let result = ended(joined);
            if outcome.is_ok() {
                outcome = result;
            }
        }
    };
    if tokio::time::timeout(grace, rest).await.is_err() && outcome.is_ok() {
        outcome = Err(AppError::Slow(grace));
    }
    outcome
}
