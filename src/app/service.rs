//! From a configuration to running roles, and from a signal to a clean shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::AppError;
use super::intake;
use super::intake::Intake;
use super::reloader::Reloader;
use super::roles::Roles;
use crate::bus;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::{Config, ConfigHandle};
use crate::console;
use crate::http;
use crate::http::{Bodies, HttpShared, Ingress, Listeners, OfListener, StreamLimits};
use crate::intake::{Appender, Lately};
use crate::new_order::PlaceHere;
use crate::scheduler;
use crate::scheduler::When;
use crate::secret::random_text;
use crate::store::{DbError, Store};
use crate::telemetry::Metrics;
use crate::wechat::platform::PlatformClient;
use crate::wechat::transport::Client;
use crate::worker::RefundClients;
use crate::{reference, relay, web, webhooks, worker};

/// How often the clock is synchronised with the database's.
const CLOCK_SET_EVERY: Duration = Duration::from_secs(5);

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
    streams: StreamLimits,
    jobs_at_least: When,
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
        let store = Store::open_beside(&config.store, &config.bus).await?;
        set_clock(&clock, &store).await?;
        warn_of_payer_keys(&store).await?;
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
        let (routes, streams) = (axum::Router::new(), StreamLimits::default());
        Ok(App {
            config,
            store,
            bus,
            bus_report,
            clock,
            wechat,
            refund_clients,
            platform,
            webhooks,
            metrics,
            routes,
            streams,
            jobs_at_least: scheduler::AT_LEAST,
        })
    }

    /// Serves these routes on the API's listener, without the API's checks. They cannot replace the API's own paths.
    #[must_use]
    pub fn with_routes(self, routes: axum::Router) -> App {
        App { routes: self.routes.merge(routes), ..self }
    }

    /// With jobs that run at least that often, also when a check finds nothing to do: with a clock that stands still,
    /// the jobs are due at its times.
    #[doc(hidden)]
    #[must_use]
    pub fn with_jobs(self, at_least: When) -> App {
        App { jobs_at_least: at_least, ..self }
    }

    /// With other limits of the streams of orders than the service's.
    #[doc(hidden)]
    #[must_use]
    pub fn with_streams(self, streams: StreamLimits) -> App {
        App { streams, ..self }
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
        let intake = Intake::open(&settings, &self.store, roles).await?;
        let found = intake.as_ref().map(Intake::found).unwrap_or_default();
        let log = intake.as_ref().and_then(Intake::appender);
        if let Some(intake) = &intake {
            intake.is_counted_by(&self.bus);
        }
        self.start_http(&mut running, listeners, placer, (log, found, roles.scheduler), &stop);
        if roles.worker || roles.relay {
            keep(&mut running, self.store.clone().watch(stop.clone()));
        }
        running.spawn(keep_time(self.clock.clone(), self.store.clone(), stop.clone()));
        if let Some(intake) = intake {
            let ctx = workers.clone().unwrap_or_else(|| self.worker_context());
            running.spawn(intake.settle(ctx, self.bus.clone(), stop.clone()));
        }
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
                at_least: self.jobs_at_least,
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
        (log, found, measures_queue): (Option<Appender>, Lately, bool),
        stop: &CancellationToken,
    ) {
        if let Some(placer) = placer.clone() {
            keep(running, placer.until_done(stop.clone()));
        }
        let (metrics, shown) = (self.metrics.clone(), (log.clone(), found.clone()));
        let ingress = Ingress {
            config: self.config.clone(),
            store: self.store.clone(),
            bus: self.bus.clone(),
            clock: self.clock.clone(),
            wechat: self.wechat.clone(),
            webhooks: self.webhooks.clone(),
            metrics: Arc::new(move || {
                intake::show(shown.0.as_ref(), &shown.1, measures_queue);
                metrics.render()
            }),
            shutdown: stop.clone(),
            place_here: placer.map(|placer| Arc::new(placer) as Arc<dyn PlaceHere>),
            intake: log.clone(),
            intake_found: found,
            streams: self.streams,
        };
        let state = Arc::new(HttpShared::new(ingress));
        let admin = http::admin_router(Arc::clone(&state), reference::problem_routes());
        let admin = listeners.admin.map(|listener| ("admin", listener, admin));
        let console = listeners.console.map(|listener| ("console", listener, console::own_router(Arc::clone(&state))));
        let notify = listeners.notify.map(|listener| ("notify", listener, http::notify_router(Arc::clone(&state))));
        let api = listeners.api.map(|listener| {
            let mut others = web::routes(Arc::clone(&state), self.platform.clone()).merge(reference::routes());
            let settings = &state.snapshot().console;
            if settings.enabled && settings.listen.is_none() {
                others = others.merge(console::routes(Arc::clone(&state)));
            }
            ("api", listener, http::router(state, others).merge(self.routes.clone()))
        });
        let settings = self.config.snapshot();
        let server = http::within_files(&settings.server, settings.store.max_connections);
        let of_all = server.max_connections;
        let (server, of_notifications) = http::shared_with_notifications(server);
        let bodies = Bodies::new(notify.is_some());
        let of = |name, settings| OfListener { name, settings, of_all, bodies: bodies.clone() };
        for (name, listener, router) in [admin, console].into_iter().flatten() {
            let serving = http::serve(listener, router, of(name, server.clone()), self.config.clone(), stop.clone());
            keep(running, serving);
        }
        let own = of_notifications.unwrap_or_else(|| server.clone());
        let takes_notifications: Vec<_> = api.into_iter().zip([server]).chain(notify.into_iter().zip([own])).collect();
        if !takes_notifications.is_empty() {
            let each: Vec<_> = takes_notifications
                .into_iter()
                .map(|((name, listener, router), server)| {
                    http::serve(listener, router, of(name, server), self.config.clone(), stop.clone())
                })
                .collect();
            keep(running, async move {
                join_all(each).await;
                // What they accepted is settled before the process ends.
                log.iter().for_each(Appender::close);
            });
        }
        let (metrics, stop) = (self.metrics.clone(), stop.clone());
        keep(running, async move { metrics.upkeep(&stop).await });
    }
}

/// Runs a part that ends without an error when it is stopped.
fn keep(running: &mut JoinSet<Result<(), AppError>>, part: impl Future<Output = ()> + Send + 'static) {
    running.spawn(part.map(Ok));
}

/// Sets the clock to the database's, which all processes share: each reads times that others wrote.
async fn set_clock(clock: &Clock, store: &Store) -> Result<(), DbError> {
    let asked = Instant::now();
    if let Some(ahead_ms) = clock.set_by(store.db().now().await?, asked) {
        tracing::warn!(ahead_ms, "this host's clock differs from the database's, which is used");
    }
    Ok(())
}

/// Names of payers that an unknown key made say nothing of who it was.
async fn warn_of_payer_keys(store: &Store) -> Result<(), DbError> {
    let missing = store.missing_payer_keys().await?;
    if missing > 0 {
        tracing::warn!(
            missing,
            "payers' names were made with a key that store.payer_key_file does not hold: restore it (docs/backups.md)"
        );
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
