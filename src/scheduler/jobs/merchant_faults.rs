//! Merchants whose setup WeChat refuses: probed until it accepts them, at once after their configuration changed.

use std::time::Duration;

use futures_util::future::join_all;
use metrics::gauge;

use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::merchant_setup::{PROBE_MAX, Probe, begins, digest, ended, pause, probe};
use crate::scheduler::job::Context;
use crate::scheduler::outcome::{Done, JobError};
use crate::store::{FaultScope, StoredFault};
use crate::telemetry;
use crate::wechat::setup_fault::SetupFault;

/// Probes what is due, and shows what there is.
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
    // What there is now: a failed write comes again.
    show(&ctx, &ctx.store.setup_faults().await?);
    probed.into_iter().collect::<Result<(), JobError>>()?;
    Ok(count.into())
}

/// A time that is further ahead than any pause was written under clock skew.
fn is_due(ctx: &Context, fault: &StoredFault, merchant: &Merchant, now: Timestamp) -> bool {
    let far = fault.next_probe_at > now.after(PROBE_MAX * 2);
    fault.next_probe_at <= now || far || fault.setup != digest(&ctx.config, merchant)
}

async fn take_up(ctx: &Context, fault: StoredFault, merchant: &Merchant) -> Result<(), JobError> {
    match fault.scope {
        FaultScope::Calls => match probe(&ctx.wechat, &ctx.config, merchant).await {
            Probe::Passed => return Ok(ended(&ctx.store, &fault, ctx.clock.now()).await?),
            Probe::Refused(found, said) if found.as_str() != fault.fault => {
                let about = (&*ctx.config, merchant);
                begins(&ctx.store, about, (found, FaultScope::Calls), &said, ctx.clock.now()).await?;
                // Hidden by the other one, or gone: the probes of that one tell.
                ctx.store.end_setup_fault(&fault).await?;
                return Ok(());
            }
            Probe::Refused(..) | Probe::Unclear => {}
        },
        // Only a refund shows it: one of those that wait is called for.
        FaultScope::Refunds => {
            let now = ctx.clock.now();
            ctx.store.advance_waiting_refunds(&fault.merchant, now, Duration::ZERO, 1).await?;
        }
    }
    let probes = fault.probes.saturating_add(1);
    let next_probe_at = ctx.clock.now().after(pause(fault.scope, probes));
    let setup = digest(&ctx.config, merchant);
    Ok(ctx.store.put_off_probe(&StoredFault { probes, next_probe_at, setup, ..fault }).await?)
}

fn show(ctx: &Context, faults: &[StoredFault]) {
    for merchant in &ctx.config.merchants {
        for fault in SetupFault::ALL {
            let there = faults.iter().any(|f| f.merchant == merchant.key && f.fault == fault.as_str());
            let (merchant, fault) = (merchant.key.to_string(), fault.as_str());
            gauge!(telemetry::MERCHANT_FAULT, "merchant" => merchant, "fault" => fault).set(f64::from(u8::from(there)));
        }
    }
}
