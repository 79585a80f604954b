//! Whether a refusal of the merchant's setup is the merchant's or one order's: a probe tells. One order must not make
//! its merchant faulty.

use std::time::Duration;

use super::context::Context;
use super::probes::Probed;
use crate::config::Merchant;
use crate::event::fact::WechatError;
use crate::ids::{AppId, AppKey};
use crate::merchant_setup::{PERMISSION, Probe, begins, degraded, digest, ended, probe, recovered};
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
    match probed(ctx, merchant).await {
        Probe::Passed => {
            if let (SetupFault::AppId, Some(appid)) = (fault, appid) {
                app_refused(ctx, merchant, appid, error).await;
            }
            Whose::Orders
        }
        Probe::Refused(..) | Probe::Unclear => Whose::Merchants,
    }
}

/// A refund's call was refused: of what only refunds show, no query tells more.
pub async fn judge_refund(ctx: &Context, merchant: &Merchant, fault: SetupFault, error: &WechatError) {
    match fault {
        SetupFault::Certificate | SetupFault::Ip => {
            count(merchant, fault);
            let now = ctx.clock.now();
            let about = (&*ctx.config, merchant);
            noted(merchant, begins(&ctx.store, about, (fault, FaultScope::Refunds), error, now).await);
        }
        SetupFault::Signature | SetupFault::MchId | SetupFault::AppId => _ = judge(ctx, merchant, None, error).await,
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

/// WeChat accepts the merchant's other apps, and not this one of its configured apps.
async fn app_refused(ctx: &Context, merchant: &Merchant, appid: &AppId, error: &WechatError) {
    let is_app = |key: &&AppKey| ctx.config.app(key.as_str()).is_some_and(|app| app.app_id == *appid);
    // By the first app the merchant is probed.
    let Some(app) = merchant.apps.iter().skip(1).find(is_app) else { return };
    let fault = SetupFault::AppId;
    let about = (Part::App(app.clone()), fault.as_str(), fault.check());
    degrades(ctx, merchant, about, error).await;
}

/// WeChat refuses the unified order for the request itself: of a missing permission, orders of its trade type.
pub async fn order_refused(ctx: &Context, merchant: &Merchant, trade_type: Option<TradeType>, error: &WechatError) {
    if let (Some(trade_type), "NOAUTH" | "NO_AUTH") = (trade_type, error.code.as_str()) {
        let about = (Part::TradeType(trade_type), PERMISSION, "the product in WeChat's merchant platform");
        degrades(ctx, merchant, about, error).await;
    }
}

async fn degrades(ctx: &Context, merchant: &Merchant, about: (Part, &str, &str), error: &WechatError) {
    let now = ctx.clock.now();
    noted(merchant, degraded(&ctx.store, (&ctx.config, merchant), about, error, now).await);
    ctx.degraded.forget();
}

/// WeChat took an order: what was refused of it before is accepted again.
pub async fn order_accepted(ctx: &Context, merchant: &Merchant, appid: Option<&AppId>, trade_type: Option<TradeType>) {
    let is_app = |key: &&AppKey| ctx.config.app(key.as_str()).is_some_and(|app| Some(&app.app_id) == appid);
    let app = merchant.apps.iter().find(is_app).cloned().map(Part::App);
    let parts = [Some(Part::Merchant), app, trade_type.map(Part::TradeType)];
    for part in parts.into_iter().flatten() {
        noted(merchant, accepted(ctx, merchant, &part).await);
    }
}

async fn accepted(ctx: &Context, merchant: &Merchant, part: &Part) -> Result<(), DbError> {
    let now = ctx.clock.now();
    if !ctx.degraded.has(&ctx.store, &merchant.key, part, now).await? {
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
