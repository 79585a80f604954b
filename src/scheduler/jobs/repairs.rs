//! Repairs of reconciled days, in the background. A job of its own: however slowly WeChat answers them, days that are
//! due are compared.

use crate::ops::commands::CommandError;
use crate::ops::reconciliation::{Repair, RepairError, go_on};
use crate::scheduler::job::{Context, Reading};
use crate::scheduler::outcome::{Done, JobError};

/// Days that one run of the job goes on with.
const PER_RUN: u64 = 4;

/// Whether a repair is due.
pub async fn has_due_repairs(on: Reading) -> Result<bool, JobError> {
    Ok(!on.store.due_repairs(on.clock.now(), 1).await?.is_empty())
}

/// Goes on with repairs that are due.
pub async fn repairs(ctx: Context) -> Result<Done, JobError> {
    let repair =
        Repair { store: &ctx.store, bus: &ctx.bus, config: &ctx.config, clock: &ctx.clock, wechat: &ctx.wechat };
    let count = go_on(repair, PER_RUN, &ctx.cancel).await.map_err(|e| match e {
        RepairError::Store(e) | RepairError::Command(CommandError::Store(e)) => JobError::Store(e),
        RepairError::Command(CommandError::Publish(e)) => JobError::Bus(e),
        RepairError::Command(CommandError::Envelope(e)) => JobError::Event(e),
    })?;
    Ok(Done { count, detail: None })
}
