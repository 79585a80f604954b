//! The table of routes and what they share.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::change_hub::OrderWatch;
use super::feed::FeedWatch;
use super::health::MetricsText;
use super::orders::in_flight::InFlight;
use super::orders::stream_slots::StreamSlots;
use super::orders::{close, create, get, stream};
use super::problem::Error;
use super::quarantine::Quarantine;
use super::rate_limit::{Budget, Throttle};
use super::refunds::routes;
use super::{events, health, jobs, middleware, notifications};
use crate::bus::{Bus, Message};
use crate::clock::Clock;
use crate::config::Config;
use crate::event::command::PrepayDue;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::{MerchantKey, OrderNo, OutRefundNo};
use crate::store::Store;
use crate::web;
use crate::web::Browser;
use crate::wechat::platform::PlatformClient;

/// One question to WeChat per order in this time, and one fresh prepay id.
const ORDER_INTERVAL: Duration = Duration::from_secs(2);

/// What the ingress works with.
#[derive(Clone)]
pub struct Ingress {
    /// The configuration.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// The bus.
    pub bus: Bus,
    /// The time.
    pub clock: Clock,
    /// The way to WeChat's platform, for the browser side's codes.
    pub platform: PlatformClient,
    /// The text of `/metrics`.
    pub metrics: MetricsText,
    /// Cancelled when the process ends: whoever waits is answered, `/readyz` says so. The same token goes to
    /// [`super::serve`].
    pub shutdown: CancellationToken,
}

/// What the routes share.
pub(crate) struct App {
    pub config: Arc<Config>,
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
    pub metrics: MetricsText,
    pub shutdown: CancellationToken,
    pub orders: OrderWatch,
    pub feed: FeedWatch,
    pub in_flight: InFlight,
    pub streams: StreamSlots,
    pub refreshes: Throttle<(MerchantKey, OrderNo)>,
    /// What people and pages may have WeChat asked, beside the scheduler's own questions.
    pub refresh_budget: Budget,
    pub renewals: Throttle<(MerchantKey, OrderNo)>,
    /// Questions about refunds.
    pub refund_refreshes: Throttle<(MerchantKey, OutRefundNo)>,
    pub quarantine: Quarantine,
    pub browser: Option<Browser>,
}

impl App {
    fn new(ingress: Ingress) -> App {
        let Ingress { config, store, bus, clock, platform, metrics, shutdown } = ingress;
        App {
            orders: OrderWatch::start(store.clone(), shutdown.clone()),
            feed: FeedWatch::start(store.clone(), shutdown.clone()),
            quarantine: Quarantine::start(store.clone(), shutdown.clone()),
            in_flight: InFlight::default(),
            streams: StreamSlots::new(),
            refreshes: Throttle::new(ORDER_INTERVAL),
            refresh_budget: Budget::default(),
            renewals: Throttle::new(ORDER_INTERVAL),
            refund_refreshes: Throttle::new(ORDER_INTERVAL),
            browser: Browser::open(&config, platform),
            config,
            store,
            bus,
            clock,
            metrics,
            shutdown,
        }
    }

    /// Publishes a command under the id of its envelope; returns when it is durable.
    pub(crate) async fn publish<T: Serialize>(&self, subject: String, envelope: Envelope<T>) -> Result<(), Error> {
        let payload = envelope.to_json()?.into_bytes();
        Ok(self.bus.publish(Message { subject, id: envelope.id, payload, headers: Vec::new() }).await?)
    }

    /// Whether WeChat may be asked about an order out of turn, now: not within two seconds of the last time, and no more of a
    /// merchant's orders in one second than its budget of questions says. If so, it counts.
    pub(crate) fn may_ask(&self, merchant: &MerchantKey, order_no: &OrderNo) -> bool {
        self.refreshes.pass((merchant.clone(), order_no.clone())) && self.within_budget(merchant)
    }

    /// The same of a refund.
    pub(crate) fn may_ask_of_refund(&self, merchant: &MerchantKey, refund_no: &OutRefundNo) -> bool {
        self.refund_refreshes.pass((merchant.clone(), refund_no.clone())) && self.within_budget(merchant)
    }

    fn within_budget(&self, merchant: &MerchantKey) -> bool {
        let budget = self.config.merchant(merchant.as_str()).map_or(0, |m| m.queries_per_second);
        self.refresh_budget.spend(merchant, budget)
    }

    /// Has a fresh prepay id fetched for the order's current attempt.
    pub(crate) async fn renew_prepay(&self, merchant: &MerchantKey, order_no: &OrderNo) -> Result<(), Error> {
        if !self.renewals.pass((merchant.clone(), order_no.clone())) {
            return Ok(());
        }
        let due = PrepayDue { order_no: order_no.clone() };
        let envelope = Envelope::new(merchant, PrepayDue::TYPE, Some(order_no.to_string()), self.clock.now(), due);
        self.publish(subject::order_prepay_due(merchant), envelope).await
    }
}

/// The routes of the public listener. Starts the tasks behind them: call it within the runtime.
///
/// Health and metrics are among them unless `server.admin_listen` gives them a listener of their own.
pub fn router(ingress: Ingress) -> Router {
    let with_admin = ingress.config.server.admin_listen.is_none();
    let app = Arc::new(App::new(ingress));
    let mut routes = Router::new()
        .route("/v1/orders", post(create::place))
        .route("/v1/orders/{order_no}", get(get::get))
        .route("/v1/orders/{order_no}/pay-params", get(get::pay_params))
        .route("/v1/orders/{order_no}/close", post(close::close))
        .route("/v1/orders/{order_no}/attempts", post(close::attempt))
        .route("/v1/orders/{order_no}/stream", get(stream::stream))
        .route("/v1/events", get(events::events))
        .route("/v1/orders/{order_no}/refunds", post(routes::place))
        .route("/v1/refunds/{refund_no}", get(routes::get))
        .route("/v1/ops/jobs", get(jobs::jobs))
        .route("/notify/{merchant}/pay", post(notifications::pay))
        .route("/notify/{merchant}/refund", post(notifications::refund))
        .merge(web::routes(&app));
    if with_admin {
        routes = routes.merge(admin_routes());
    }
    finish(routes, app)
}

/// The routes of `server.admin_listen`: health and metrics.
pub fn admin_router(ingress: Ingress) -> Router {
    finish(admin_routes(), Arc::new(App::new(ingress)))
}

fn admin_routes() -> Router<Arc<App>> {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
}

fn finish(routes: Router<Arc<App>>, app: Arc<App>) -> Router {
    routes
        .fallback(|| async { Error::NoRoute })
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(middleware::guard))
        .with_state(app)
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::Internal { internal: format!("panic: {}", words.unwrap_or("of an unknown kind")) }.into_response()
}
