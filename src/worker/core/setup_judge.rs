//! Whether a refusal of the merchant's setup is the merchant's or one order's: a probe tells. One order must not make
//! its merchant faulty.

use std::time::Duration;

use super::context::Context;
use super::probes::Probed;
use crate::config::Merchant;
use crate::event::fact::WechatError;
use crate::ids::{AppId, AppKey};
use crate::merchant_setup::{PERMISSION, Probe, begins, degraded, digest, ended, may_probe, probe, recovered};
use crate::store::{DbError, FaultScope, Part};
use crate::telemetry;
use crate::trade::TradeType;
use crate::wechat::setup_fault::SetupFault;

/// Refusals that come within this time after a probe share its result.
const FRESH: Duration = Duration::from_secs(1);

/// Whose the refusal of an order's call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// WeChat refuses whatever the merchant asks, or cannot be asked now.
    Merchants,
    /// WeChat accepts the merchant's other calls.
    Orders,
}

/// Judges a refusal of a call that named this app. One that is about no setup is not the merchant's.
pub async fn judge(ctx: &Context, merchant: &Merchant, appid: Option<&AppId>, error: &WechatError) -> Whose {
    let Some(fault) = SetupFault::of(error) else { return Whose::Orders };
    count(merchant, fault);
    let app = appid.filter(|_| fault == SetupFault::AppId).and_then(|appid| other_app(ctx, merchant, appid));
    let is_known = match &app {
        Some(app) => is_app_known(ctx, merchant, app).await,
        None => false,
    };
    if !is_known {
        // Nothing fails for an app that is refused one time and accepted another, as long as it may not be probed.
        let is_free = match &app {
            Some(app) => may_be_probed(ctx, merchant, app).await,
            None => true,
        };
        if !is_free || probed(ctx, merchant).await != Probe::Passed {
            return Whose::Merchants;
        }
    }
    if let Some(app) = app {
        let about = (Part::App(app), fault.as_str(), fault.check());
        degrades(ctx, merchant, about, error).await;
    }
    Whose::Orders
}

/// A refund's call that named this app was refused: of what only refunds show, no query tells more.
pub async fn judge_refund(
    ctx: &Context,
    merchant: &Merchant,
    appid: Option<&AppId>,
    fault: SetupFault,
    error: &WechatError,
) {
    match fault {
        SetupFault::Certificate | SetupFault::Ip => {
            count(merchant, fault);
            let now = ctx.clock.now();
            let about = (&*ctx.config, merchant);
            noted(merchant, begins(&ctx.store, about, (fault, FaultScope::Refunds), error, now).await);
        }
        SetupFault::Signature | SetupFault::MchId | SetupFault::AppId => _ = judge(ctx, merchant, appid, error).await,
    }
}

/// A refund's call passed: what only refunds show is accepted.
pub async fn refund_passed(ctx: &Context, merchant: &Merchant) {
    let end = async {
        for fault in ctx.store.setup_faults().await? {
            if fault.merchant == merchant.key && fault.scope == FaultScope::Refunds {
                ended(&ctx.store, (&ctx.config, merchant), &fault, ctx.clock.now()).await?;
            }
        }
        Ok(())
    };
    noted(merchant, end.await);
}

/// The merchant's app with this number, unless it is the first one, by which the merchant is probed.
fn other_app(ctx: &Context, merchant: &Merchant, appid: &AppId) -> Option<AppKey> {
    app_of(ctx, merchant, appid).filter(|app| merchant.apps.first() != Some(app))
}

/// The merchant's app with this number.
fn app_of(ctx: &Context, merchant: &Merchant, appid: &AppId) -> Option<AppKey> {
    let is_app = |key: &&AppKey| ctx.config.app(key.as_str()).is_some_and(|app| app.app_id == *appid);
    merchant.apps.iter().find(is_app).cloned()
}

/// Whether all processes know that the app is refused alone under this setup: the scheduler probes it, once a minute.
async fn is_app_known(ctx: &Context, merchant: &Merchant, app: &AppKey) -> bool {
    let (part, setup) = (Part::App(app.clone()), digest(&ctx.config, merchant));
    let known = ctx.degraded.setup_of(&ctx.store, &merchant.key, &part, ctx.clock.now()).await;
    if known.is_ok_and(|known| known.as_ref() == Some(&setup)) {
        return true;
    }
    // What this process read may be some seconds old, and another process may have found it since.
    let stored = ctx.store.degradation(&merchant.key, &part).await;
    stored.is_ok_and(|stored| stored.is_some_and(|of| of.setup == setup))
}

async fn may_be_probed(ctx: &Context, merchant: &Merchant, app: &AppKey) -> bool {
    let (about, part) = ((&*ctx.config, merchant), Part::App(app.clone()));
    may_probe(&ctx.store, about, &part, ctx.clock.now()).await.unwrap_or(true)
}

/// How an order's call went that names an app and a trade type.
pub struct OrderCall {
    pub appid: Option<AppId>,
    pub trade_type: Option<TradeType>,
}

impl OrderCall {
    /// Orders of its trade type through its app: the product is granted to both together.
    fn part(&self, app: Option<&AppKey>) -> Option<Part> {
        Some(Part::TradeType(self.trade_type?, Some(app?.clone())))
    }

    fn app(&self, ctx: &Context, merchant: &Merchant) -> Option<AppKey> {
        app_of(ctx, merchant, self.appid.as_ref()?)
    }
}

/// WeChat refuses the unified order for the request itself: of a missing permission, orders of its trade type.
pub async fn order_refused(ctx: &Context, merchant: &Merchant, call: &OrderCall, error: &WechatError) {
    if !matches!(error.code.as_str(), "NOAUTH" | "NO_AUTH") {
        return;
    }
    if let Some(part) = call.part(call.app(ctx, merchant).as_ref()) {
        let about = (part, PERMISSION, "the product in WeChat's merchant platform");
        degrades(ctx, merchant, about, error).await;
    }
}

async fn degrades(ctx: &Context, merchant: &Merchant, about: (Part, &str, &str), error: &WechatError) {
    let now = ctx.clock.now();
    match degraded(&ctx.store, (&ctx.config, merchant), about, error, now).await {
        Ok(true) => ctx.degraded.forget(),
        Ok(false) => {}
        Err(e) => noted(merchant, Err(e)),
    }
}

/// WeChat took an order: what was refused of it before is accepted again.
pub async fn order_accepted(ctx: &Context, merchant: &Merchant, call: &OrderCall) {
    let app = call.app(ctx, merchant);
    let parts = [
        Some(Part::Merchant),
        call.part(app.as_ref()),
        // As a process kept it that did not know the app.
        call.trade_type.map(|trade_type| Part::TradeType(trade_type, None)),
        app.map(Part::App),
    ];
    for part in parts.into_iter().flatten() {
        noted(merchant, accepted(ctx, merchant, &part).await);
    }
}

async fn accepted(ctx: &Context, merchant: &Merchant, part: &Part) -> Result<(), DbError> {
    let now = ctx.clock.now();
    if ctx.degraded.setup_of(&ctx.store, &merchant.key, part, now).await?.is_none() {
        return Ok(());
    }
    match part {
        Part::Merchant => {
            let setup = digest(&ctx.config, merchant);
            for fault in ctx.store.setup_faults().await? {
                // Of another setup only a probe of the scheduler, which knows the newest, says that it is gone.
                if fault.merchant == merchant.key && fault.scope == FaultScope::Calls && fault.setup == setup {
                    ended(&ctx.store, (&ctx.config, merchant), &fault, now).await?;
                }
            }
        }
        part => {
            if let Some(found) = ctx.store.degradation(&merchant.key, part).await? {
                recovered(&ctx.store, &found, "success", now).await?;
            }
        }
    }
    ctx.degraded.forget();
    Ok(())
}

/// What a probe finds now.
pub async fn probed(ctx: &Context, merchant: &Merchant) -> Probe {
    let slot = ctx.probes.of(&merchant.key);
    let mut last = slot.lock().await;
    let (now, setup) = (ctx.clock.now(), digest(&ctx.config, merchant));
    if let Some(last) = last.as_ref().filter(|last| last.setup == setup && now.since(last.at) < FRESH) {
        return last.probe.clone();
    }
    if is_known(ctx, merchant, &setup).await {
        return Probe::Unclear;
    }
    let probe = probe(&ctx.wechat, &ctx.config, merchant).await;
    if let Probe::Refused(fault, said) = &probe {
        let about = (&*ctx.config, merchant);
        noted(merchant, begins(&ctx.store, about, (*fault, FaultScope::Calls), said, ctx.clock.now()).await);
        ctx.degraded.forget();
    }
    *last = Some(Probed { at: ctx.clock.now(), setup, probe: probe.clone() });
    probe
}

/// Whether all processes know that this setup is refused: the scheduler probes it, once a minute.
async fn is_known(ctx: &Context, merchant: &Merchant, setup: &str) -> bool {
    let faults = ctx.store.setup_faults().await.unwrap_or_default();
    faults.iter().any(|of| of.merchant == merchant.key && of.scope == FaultScope::Calls && of.setup == setup)
}

fn count(merchant: &Merchant, fault: SetupFault) {
    let (merchant, fault) = (merchant.key.to_string(), fault.as_str());
    metrics::counter!(telemetry::SETUP_REFUSALS_TOTAL, "merchant" => merchant, "fault" => fault).increment(1);
}

/// The order is judged all the same; the next refusal or the scheduler writes what was not written.
fn noted(merchant: &Merchant, written: Result<(), DbError>) {
    if let Err(e) = written {
        tracing::warn!(merchant = %merchant.key, error = %e, "a fault of the merchant's setup cannot be written");
    }
}
