//! Whether a refusal of the merchant's setup is the merchant's or one order's: a probe tells. One order must not make
//! its merchant faulty.

use std::time::Duration;

use super::context::Context;
use super::probes::Probed;
use crate::config::Merchant;
use crate::event::fact::WechatError;
use crate::merchant_setup::{Probe, begins, digest, ended, probe};
use crate::store::{DbError, FaultScope};
use crate::telemetry;
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

/// Judges a refusal. One that is about no setup is not the merchant's.
pub async fn judge(ctx: &Context, merchant: &Merchant, error: &WechatError) -> Whose {
    let Some(fault) = SetupFault::of(error) else { return Whose::Orders };
    count(merchant, fault);
    match probed(ctx, merchant).await {
        Probe::Passed => Whose::Orders,
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
        SetupFault::Signature | SetupFault::MchId | SetupFault::AppId => _ = judge(ctx, merchant, error).await,
    }
}

/// A refund's call passed: what only refunds show is accepted.
pub async fn refund_passed(ctx: &Context, merchant: &Merchant) {
    let end = async {
        for fault in ctx.store.setup_faults().await? {
            if fault.merchant == merchant.key && fault.scope == FaultScope::Refunds {
                ended(&ctx.store, &fault, ctx.clock.now()).await?;
            }
        }
        Ok(())
    };
    noted(merchant, end.await);
}

/// What a probe finds now.
pub async fn probed(ctx: &Context, merchant: &Merchant) -> Probe {
    let slot = ctx.probes.of(&merchant.key);
    let mut last = slot.lock().await;
    let (now, setup) = (ctx.clock.now(), digest(&ctx.config, merchant));
    if let Some(last) = last.as_ref().filter(|last| last.setup == setup && now.since(last.at) < FRESH) {
        return last.probe.clone();
    }
    let probe = probe(&ctx.wechat, &ctx.config, merchant).await;
    if let Probe::Refused(fault, said) = &probe {
        let about = (&*ctx.config, merchant);
        noted(merchant, begins(&ctx.store, about, (*fault, FaultScope::Calls), said, ctx.clock.now()).await);
    }
    *last = Some(Probed { at: ctx.clock.now(), setup, probe: probe.clone() });
    probe
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
