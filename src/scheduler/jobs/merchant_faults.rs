//! Merchants whose setup WeChat refuses: probed until it accepts them, at once after their configuration changed.

use std::time::Duration;

use futures_util::future::join_all;

use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::ids::AppKey;
use crate::merchant_setup::{
    PROBE_EVERY, Probe, announce, begins, digest, ended, is_unseen, probe, probe_app, recovered, removed,
};
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};
use crate::store::{DbError, Degradation, FaultScope, Part, StoredFault};
use crate::telemetry;
use crate::trade::TradeType;
use crate::wechat::setup_fault::SetupFault;

/// Whether WeChat refuses something, or announced it did.
pub async fn has_faults(on: Reading) -> Result<bool, JobError> {
    Ok(!on.store.setup_faults().await?.is_empty() || !on.store.degradations().await?.is_empty())
}

/// Probes what is due.
pub async fn merchant_faults(ctx: Context) -> Result<Done, JobError> {
    let now = ctx.clock.now();
    let faults = ctx.store.setup_faults().await?;
    let due = faults.into_iter().filter_map(|fault| {
        let merchant = ctx.config.merchant(fault.merchant.as_str())?;
        is_due(&ctx, &fault, merchant, now).then_some((fault, merchant))
    });
    // At once: a WeChat that does not answer for one merchant must not delay the others.
    let probed = join_all(due.map(|(fault, merchant)| take_up(&ctx, fault, merchant))).await;
    let count = probed.len() as u64;
    let parts = parts(&ctx).await;
    for merchant in &ctx.config.merchants {
        announce(&ctx.store, &ctx.config, merchant, ctx.clock.now()).await?;
    }
    probed.into_iter().chain([parts]).collect::<Result<(), JobError>>()?;
    Ok(count.into())
}

/// Apps that are refused alone are probed; what no probe shows ends after a day without a refusal. What is no longer
/// configured ends at once.
async fn parts(ctx: &Context) -> Result<(), JobError> {
    let now = ctx.clock.now();
    let found = ctx.store.degradations().await?;
    let work = found.iter().map(|of| async move {
        let merchant = ctx.config.merchant(of.merchant.as_str());
        let has_app = |merchant: &&Merchant| of.part.app().is_none_or(|app| merchant.apps.contains(app));
        let Some(merchant) = merchant.filter(has_app) else { return removed(&ctx.store, of, now).await };
        match &of.part {
            Part::Merchant | Part::Refunds => Ok(()),
            Part::App(app) => probe_part(ctx, merchant, of, app).await,
            Part::TradeType(..) | Part::Notifications if is_unseen(of, now) => {
                recovered(&ctx.store, of, "not refused for a day", now).await
            }
            Part::TradeType(..) | Part::Notifications => Ok(()),
        }
    });
    join_all(work).await.into_iter().collect::<Result<(), _>>()?;
    Ok(())
}

async fn probe_part(ctx: &Context, merchant: &Merchant, of: &Degradation, app: &AppKey) -> Result<(), DbError> {
    let (now, setup) = (ctx.clock.now(), digest(&ctx.config, merchant));
    let far = of.next_probe_at > now.after(PROBE_EVERY * 2);
    if of.next_probe_at > now && !far && of.setup == setup {
        return Ok(());
    }
    let Some(configured) = ctx.config.app(app.as_str()) else { return removed(&ctx.store, of, now).await };
    let probe = probe_app(&ctx.wechat, merchant, &configured.app_id).await;
    let now = ctx.clock.now();
    let still = Degradation { setup, next_probe_at: now.after(PROBE_EVERY), ..of.clone() };
    let still = match probe {
        Probe::Passed => return recovered(&ctx.store, of, "probe", now).await,
        // Any other refusal is the whole merchant's, and announced as that.
        Probe::Refused(SetupFault::AppId, said) => Degradation { seen_at: now, said: Some(said), ..still },
        Probe::Refused(..) | Probe::Unclear => still,
    };
    ctx.store.still_degraded(of, &still).await
}

/// Shows every fault and part of every merchant, also those that are well.
pub async fn show(on: &Reading) -> Result<(), JobError> {
    let faults = on.store.setup_faults().await?;
    for merchant in &on.config.merchants {
        for fault in SetupFault::ALL {
            let there = faults.iter().any(|f| f.merchant == merchant.key && f.fault == fault.as_str());
            let labels = [("merchant", merchant.key.as_str()), ("fault", fault.as_str())];
            on.shown.set(telemetry::MERCHANT_FAULT, &labels, f64::from(u8::from(there)));
        }
    }
    show_parts(on, &on.store.degradations().await?);
    Ok(())
}

fn show_parts(on: &Reading, found: &[Degradation]) {
    for merchant in &on.config.merchants {
        let apps = merchant.apps.iter().cloned().map(Part::App);
        let by_app = |app: AppKey| TradeType::ALL.iter().map(move |of| Part::TradeType(*of, Some(app.clone())));
        let trade_types = merchant.apps.iter().cloned().flat_map(by_app);
        // A row of before trade types were kept by app.
        let others = found.iter().filter(|of| of.merchant == merchant.key).map(|of| of.part.clone());
        let parts = [Part::Merchant, Part::Refunds, Part::Notifications].into_iter().chain(apps).chain(trade_types);
        for part in parts.chain(others) {
            let there = found.iter().any(|of| of.merchant == merchant.key && of.part == part);
            let what = part.to_text();
            let labels = [("merchant", merchant.key.as_str()), ("what", what.as_str())];
            on.shown.set(telemetry::DEGRADED, &labels, f64::from(u8::from(there)));
        }
    }
}

/// A time that is further ahead than any pause was written under clock skew.
fn is_due(ctx: &Context, fault: &StoredFault, merchant: &Merchant, now: Timestamp) -> bool {
    let far = fault.next_probe_at > now.after(PROBE_EVERY * 2);
    fault.next_probe_at <= now || far || fault.setup != digest(&ctx.config, merchant)
}

async fn take_up(ctx: &Context, mut fault: StoredFault, merchant: &Merchant) -> Result<(), JobError> {
    match fault.scope {
        FaultScope::Calls => match probe(&ctx.wechat, &ctx.config, merchant).await {
            Probe::Passed => {
                return Ok(ended(&ctx.store, (&ctx.config, merchant), &fault, ctx.clock.now()).await?);
            }
            Probe::Refused(found, said) if found.as_str() != fault.fault => {
                let about = (&*ctx.config, merchant);
                begins(&ctx.store, about, (found, FaultScope::Calls), &said, ctx.clock.now()).await?;
                // Hidden by the other one, or gone: the probes of that one tell.
                ctx.store.end_setup_fault(&fault).await?;
                return Ok(());
            }
            // Its words may be others.
            Probe::Refused(_, said) => fault.said = said,
            Probe::Unclear => {}
        },
        // Only a refund shows it: one of those that wait is called for.
        FaultScope::Refunds => {
            let now = ctx.clock.now();
            ctx.store.advance_waiting_refunds(&fault.merchant, now, Duration::ZERO, 1).await?;
        }
    }
    let probes = fault.probes.saturating_add(1);
    let next_probe_at = ctx.clock.now().after(PROBE_EVERY);
    let setup = digest(&ctx.config, merchant);
    Ok(ctx.store.put_off_probe(&StoredFault { probes, next_probe_at, setup, ..fault }).await?)
}
