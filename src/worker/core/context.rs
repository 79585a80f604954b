//! What every handler has at hand.

use std::collections::HashMap;
use std::sync::Arc;

use super::fact::{Applied, Item};
use super::fact_applier::{ApplyError, FactApplier};
use super::probes::Probes;
use super::recorder::OrderRecorder;
use crate::bus::Ending;
use crate::clock::Clock;
use crate::config::{Config, ConfigHandle, Merchant};
use crate::ids::{AppId, MerchantKey};
use crate::merchant_setup::KnownDegraded;
use crate::store::{ReplayMark, Store};
use crate::wechat::transport::Client;
use crate::worker::order::claim_group::ClaimGroup;
use crate::worker::pay::call_log::CallLog;
use crate::worker::pay::pacer::Pacer;
use crate::worker::pay::refund_clients::RefundClients;

/// What every handler has at hand. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Merchants, apps, addresses: as they were when the delivery began.
    pub config: Arc<Config>,
    in_force: ConfigHandle,
    pub store: Store,
    /// The way to WeChat.
    pub wechat: Client,
    /// The ways to WeChat with a merchant's certificate, for refunds: as they were when the delivery began.
    pub refund_clients: Arc<HashMap<MerchantKey, Client>>,
    refund_clients_in_force: RefundClients,
    pub clock: Clock,
    /// Permits to call WeChat.
    pub(in crate::worker) pacer: Arc<Pacer>,
    pub(in crate::worker) applier: Arc<FactApplier>,
    pub(in crate::worker) recorder: Arc<OrderRecorder>,
    pub(in crate::worker) claims: Arc<ClaimGroup>,
    pub(in crate::worker) probes: Arc<Probes>,
    pub(in crate::worker) degraded: Arc<KnownDegraded>,
    /// The item of a replay that is worked on.
    pub(in crate::worker) replay: Option<ReplayMark>,
    /// How the delivery can end together with its effects.
    pub(in crate::worker) ending: Option<Ending>,
    /// The calls of the delivery that no decision has taken yet.
    pub(in crate::worker) calls: Arc<CallLog>,
}

impl Context {
    /// Builds a context; its groups run on the current runtime.
    pub fn new(
        in_force: ConfigHandle,
        store: Store,
        wechat: Client,
        refund_clients_in_force: RefundClients,
        clock: Clock,
    ) -> Context {
        let applier = Arc::new(FactApplier::new(store.clone(), clock.clone(), wechat.clone()));
        let recorder = Arc::new(OrderRecorder::new(store.clone()));
        let claims = Arc::new(ClaimGroup::new(store.clone(), clock.clone()));
        let pacer = Arc::new(Pacer::new(store.clone()));
        let config = in_force.snapshot();
        let (probes, degraded, calls) = (Arc::default(), Arc::default(), Arc::default());
        let refund_clients = refund_clients_in_force.snapshot();
        Context {
            config,
            in_force,
            store,
            wechat,
            refund_clients,
            refund_clients_in_force,
            clock,
            pacer,
            applier,
            recorder,
            claims,
            probes,
            degraded,
            replay: None,
            ending: None,
            calls,
        }
    }

    /// The context of a delivery that begins now.
    pub(in crate::worker) fn for_delivery(&self) -> Context {
        Context {
            config: self.in_force.snapshot(),
            refund_clients: self.refund_clients_in_force.snapshot(),
            calls: Arc::default(),
            ..self.clone()
        }
    }

    /// The same, with how its delivery can end.
    pub(in crate::worker) fn with_ending(self, ending: Option<Ending>) -> Context {
        Context { ending, ..self }
    }

    /// The context of an item of a replay.
    pub(in crate::worker) fn for_replay(&self, mark: ReplayMark) -> Context {
        Context { replay: Some(mark), ..self.for_delivery() }
    }

    /// Applies one fact with the calls that were made for it; returns when it is durable.
    pub(in crate::worker) async fn apply(&self, item: Item) -> Result<Applied, ApplyError> {
        self.applier.apply(Item { calls: self.calls.take(), ..item }).await
    }

    /// Records the calls that led to no decision on an order.
    pub(in crate::worker) async fn record_calls(&self) {
        let calls = self.calls.take();
        if !calls.is_empty()
            && let Err(e) = self.store.record_calls(calls).await
        {
            tracing::warn!(error = %e, "calls to WeChat are not recorded");
        }
    }

    /// WeChat's numbers of the apps a merchant takes orders through.
    pub fn app_ids(&self, merchant: &Merchant) -> Vec<AppId> {
        self.config.app_ids(merchant)
    }
}
