//! What the routes of the ingress share, and what one request sees of it.

use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::api_keys::refused::RefusedKeys;
use super::api_keys::ring::KeyRing;
use super::change_hub::OrderWatch;
use super::events::feed::FeedWatch;
use super::health::last::LastReadiness;
use super::notify_health::NotifyHealth;
use super::open_streams::{OpenStreams, StreamLimits};
use super::orders::recorder::Recorder;
use super::problem::Error;
use super::quarantine::Quarantine;
use super::rate_limit::{Budget, Throttle};
use crate::bus::{Bus, Message};
use crate::clock::Clock;
use crate::config::{Config, ConfigHandle, ReloadOutcome};
use crate::event::command::PrepayDue;
use crate::event::envelope::{Envelope, EventData};
use crate::event::subject;
use crate::ids::{MerchantKey, OrderNo, OutRefundNo};
use crate::intake::{Appender, Lately};
use crate::new_order::PlaceHere;
use crate::sealed_box::SealKey;
use crate::store::{Store, TOKEN_SEAL};
use crate::telemetry::MetricsText;
use crate::webhooks;
use crate::wechat::transport::Client;

/// One question to WeChat per order in this time, and one fresh prepay id.
const ORDER_INTERVAL: Duration = Duration::from_secs(2);
/// The part of a merchant's queries that is left to the scheduler: one in so many.
const SCHEDULERS_PART: u32 = 4;
/// The part of the others that payers have together: one in so many.
const PAYERS_PART: u32 = 2;
/// Whether a stream was opened with the order's token. Those that payers opened count apart, so that they end none of
/// the business.
pub type IsPayers = bool;
/// What a stream follows.
pub type StreamSubject = (MerchantKey, OrderNo, IsPayers);
/// The network whose share a stream is part of.
pub type StreamClient = (IpAddr, IsPayers);

/// What the ingress works with.
#[derive(Clone)]
pub struct Ingress {
    pub config: ConfigHandle,
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
    /// Asks WeChat about payments of no order. About orders and refunds the workers ask.
    pub wechat: Client,
    /// Sends the tests of webhooks.
    pub webhooks: webhooks::Maker,
    /// The text of `/metrics`.
    pub metrics: MetricsText,
    /// Cancelled when the process ends: requests that wait are answered, `/readyz` says so. The same token goes to
    /// [`super::serve`].
    pub shutdown: CancellationToken,
    /// The workers, where they run in this process: orders are placed from here.
    pub place_here: Option<Arc<dyn PlaceHere>>,
    /// Where notifications are accepted, if not in the queue.
    pub intake: Option<Appender>,
    /// What of other processes' intake logs stays.
    pub intake_found: Lately,
    pub streams: StreamLimits,
}

/// What the routes share.
pub struct HttpShared {
    config: ConfigHandle,
    pub store: Store,
    pub bus: Bus,
    pub clock: Clock,
    pub wechat: Client,
    pub webhooks: webhooks::Maker,
    pub metrics: MetricsText,
    pub shutdown: CancellationToken,
    pub place_here: Option<Arc<dyn PlaceHere>>,
    pub intake: Option<Appender>,
    pub intake_found: Lately,
    pub recorder: Recorder,
    pub orders: OrderWatch,
    pub feed: FeedWatch,
    pub stream_limits: StreamLimits,
    /// The open streams of orders.
    pub streams: Arc<OpenStreams<StreamSubject, StreamClient>>,
    pub refreshes: Throttle<(MerchantKey, OrderNo)>,
    /// Rate limits of polls on behalf of people and pages, beside the scheduler's own.
    pub refresh_budget: Budget<MerchantKey>,
    /// Of these, what payers take together.
    pub payers_refresh_budget: Budget<MerchantKey>,
    /// Refreshes for refunds: WeChat counts those questions apart, and they take nothing from orders that are unpaid.
    pub refund_refresh_budget: Budget<MerchantKey>,
    pub renewals: Throttle<(MerchantKey, OrderNo)>,
    /// Questions about refunds.
    pub refund_refreshes: Throttle<(MerchantKey, OutRefundNo)>,
    pub quarantine: Quarantine,
    pub notify_health: NotifyHealth,
    pub readiness: LastReadiness,
    /// The API keys of the database, and the revoked ones.
    pub keys: Arc<KeyRing>,
    pub refused_keys: RefusedKeys,
    /// Opens the stored tokens; there are some where `web.session_key` is configured.
    pub token_key: Option<SealKey>,
}

impl HttpShared {
    /// Starts the tasks behind the routes: call it within the runtime.
    pub fn new(ingress: Ingress) -> HttpShared {
        let Ingress { config, store, bus, clock, wechat, webhooks, metrics, shutdown, place_here, .. } = ingress;
        let session_key = config.snapshot().web.session_key.clone();
        HttpShared {
            recorder: Recorder::start(store.clone()),
            orders: OrderWatch::start(store.clone(), shutdown.clone()),
            feed: FeedWatch::start(store.clone(), shutdown.clone()),
            keys: KeyRing::start(store.clone(), clock.clone(), shutdown.clone()),
            refused_keys: RefusedKeys::start(store.clone(), shutdown.clone()),
            notify_health: NotifyHealth::start(store.clone(), shutdown.clone()),
            quarantine: Quarantine::start(store.clone(), shutdown.clone()),
            token_key: session_key.and_then(|key| SealKey::derive(&key, TOKEN_SEAL).ok()),
            stream_limits: ingress.streams,
            streams: Arc::new(OpenStreams::new(ingress.streams)),
            refreshes: Throttle::new(ORDER_INTERVAL),
            refresh_budget: Budget::default(),
            payers_refresh_budget: Budget::default(),
            refund_refresh_budget: Budget::default(),
            renewals: Throttle::new(ORDER_INTERVAL),
            readiness: LastReadiness::default(),
            refund_refreshes: Throttle::new(ORDER_INTERVAL),
            config,
            store,
            bus,
            clock,
            wechat,
            webhooks,
            metrics,
            shutdown,
            place_here,
            intake: ingress.intake,
            intake_found: ingress.intake_found,
        }
    }

    /// How the configuration was last read anew.
    pub fn last_reload(&self) -> Option<ReloadOutcome> {
        self.config.last_reload()
    }

    /// The configuration as it is now.
    pub fn snapshot(&self) -> Arc<Config> {
        self.config.snapshot()
    }
}

/// What one request works with: the shared state, and the configuration as it was when the request began.
///
/// An extractor: all extractors, layers and the handler of a request get the same snapshot.
#[derive(Clone)]
pub struct HttpState {
    pub config: Arc<Config>,
    shared: Arc<HttpShared>,
}

impl Deref for HttpState {
    type Target = HttpShared;

    fn deref(&self) -> &HttpShared {
        &self.shared
    }
}

impl FromRequestParts<Arc<HttpShared>> for HttpState {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<HttpShared>) -> Result<HttpState, Infallible> {
        Ok(HttpState::of_request(&mut parts.extensions, shared))
    }
}

impl HttpState {
    /// The state of the request with these extensions, where its snapshot is kept.
    pub fn of_request(extensions: &mut Extensions, shared: &Arc<HttpShared>) -> HttpState {
        let begun = || HttpState { config: shared.snapshot(), shared: Arc::clone(shared) };
        extensions.get_or_insert_with(begun).clone()
    }

    /// Publishes a command under the id of its envelope; returns when it is durable.
    pub(crate) async fn publish<T: Serialize>(&self, subject: String, envelope: Envelope<T>) -> Result<(), Error> {
        let payload = envelope.to_json()?.into_bytes();
        Ok(self.bus.publish(Message { subject, id: envelope.id, payload, headers: Vec::new() }).await?)
    }

    /// Whether WeChat may be asked about an order outside its schedule, now: not within two seconds of the last time,
    /// and no more of a merchant's orders in one second than its budget of questions says. If so, it counts.
    pub(crate) fn may_ask(&self, merchant: &MerchantKey, order_no: &OrderNo) -> bool {
        self.refreshes.pass((merchant.clone(), order_no.clone())) && self.is_within(&self.refresh_budget, merchant)
    }

    /// The same for a payer: of the merchant's budget payers have half together, so that API keys are left the other.
    pub(crate) fn may_ask_for_payer(&self, merchant: &MerchantKey, order_no: &OrderNo) -> bool {
        let per_second = self.refreshes_per_second(merchant).div_ceil(PAYERS_PART);
        self.refreshes.pass((merchant.clone(), order_no.clone()))
            && self.payers_refresh_budget.spend(merchant, per_second)
            && self.is_within(&self.refresh_budget, merchant)
    }

    /// The same of an order of which only the refunds can be new.
    pub(crate) fn may_ask_for_refunds(&self, merchant: &MerchantKey, order_no: &OrderNo) -> bool {
        let may = self.refreshes.pass((merchant.clone(), order_no.clone()));
        may && self.is_within(&self.refund_refresh_budget, merchant)
    }

    /// The same of a refund.
    pub(crate) fn may_ask_of_refund(&self, merchant: &MerchantKey, refund_no: &OutRefundNo) -> bool {
        let may = self.refund_refreshes.pass((merchant.clone(), refund_no.clone()));
        may && self.is_within(&self.refund_refresh_budget, merchant)
    }

    /// Whether the merchant's budget of questions about refunds in this second is not used up. If so, this one counts.
    pub(crate) fn within_refund_budget(&self, merchant: &MerchantKey) -> bool {
        self.is_within(&self.refund_refresh_budget, merchant)
    }

    fn is_within(&self, budget: &Budget<MerchantKey>, merchant: &MerchantKey) -> bool {
        budget.spend(merchant, self.refreshes_per_second(merchant))
    }

    /// Of the queries that a merchant may make in a second, a quarter is the scheduler's.
    fn refreshes_per_second(&self, merchant: &MerchantKey) -> u32 {
        let all = self.config.merchant(merchant.as_str()).map_or(0, |m| m.queries_per_second);
        all - all / SCHEDULERS_PART
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
