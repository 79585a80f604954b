//! How far a repair is, and stopping it.

use super::apply::compare_again;
use super::repair::{Repair, RepairError};
use crate::ops::Operator;
use crate::store::{AuditEntry, DayRepair, DbError, Reconciliation, RepairState, Store};

/// How a day's repair stands, and how many lines it waits for; none where none was made.
pub async fn progress(store: &Store, of: &Reconciliation) -> Result<Option<(DayRepair, i64)>, DbError> {
    let Some(repair) = store.day_repair(&of.merchant, &of.day).await? else { return Ok(None) };
    let waiting = if matches!(repair.state, RepairState::Done | RepairState::Stopped) {
        0
    } else {
        store.asked_lines(of).await?.waiting
    };
    Ok(Some((repair, waiting)))
}

/// Stops the repair of a day: no further line is begun, and nothing is waited for any more. What was repaired stays,
/// and the day is compared with it. Answers whether it was under way; none where none was made.
pub async fn stop(
    on: Repair<'_>,
    operator: &Operator,
    of: &Reconciliation,
    reason: String,
) -> Result<Option<bool>, RepairError> {
    let Some(repair) = on.store.day_repair(&of.merchant, &of.day).await? else { return Ok(None) };
    let audit = AuditEntry {
        merchant: Some(of.merchant.clone()),
        subject: Some(format!("reconciliation:{}", of.day)),
        ..operator.audit("reconciliation.stop", reason, on.clock.now())
    };
    let settled = on.store.asked_lines(of).await?.settled;
    let stopped = on.store.stop_repair(&repair, &audit).await?;
    if !stopped {
        on.store.record_audit(&AuditEntry { result: "repeated".to_owned(), ..audit }).await?;
    } else if settled > 0 || on.store.count_repaired_lines(of).await? > 0 {
        compare_again(on, of).await?;
    }
    Ok(Some(stopped))
}
