//! Explaining a day as a whole, once WeChat no longer has the bill to compare it with. It moves no money.
//!
//! What must stay true: what a bill or a note of a line can settle is not settled so.

use crate::clock::{Clock, Timestamp};
use crate::ids::MerchantKey;
use crate::ops::Operator;
use crate::reconcile::oldest;
use crate::reconciliation::DayState;
use crate::store::{AuditEntry, DayNote, DbError, ExplainedDay, Reconciliation, Store, Work};
use crate::wechat::v2::bill::BillDay;

/// Why a day is not explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// WeChat has its bill, or will have it.
    #[error("WeChat has the bills of {oldest} and later days: the day is compared with its bill")]
    Kept { oldest: String },
    /// It is balanced or explained, is being compared, or has open lines, which have notes of their own.
    #[error("the day is balanced or explained, is being compared, or has open lines: explain these one by one")]
    NotOpen,
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Whether a person may explain a day as it is now. One that was never asked for is not found.
pub fn is_explainable(day: BillDay, found: Option<&Reconciliation>, now: Timestamp) -> bool {
    day < oldest(now) && found.is_none_or(is_open)
}

fn is_open(day: &Reconciliation) -> bool {
    let is_settled = matches!(day.standing(), Some(DayState::Balanced | DayState::Explained));
    day.work == Work::Idle && day.open_lines == 0 && !is_settled
}

/// Explains a day that WeChat no longer has.
pub async fn explain(
    (store, clock): (&Store, &Clock),
    operator: &Operator,
    (merchant, day): (&MerchantKey, BillDay),
    note: String,
) -> Result<(), ExplainError> {
    let at = clock.now();
    if day >= oldest(at) {
        return Err(ExplainError::Kept { oldest: oldest(at).to_string() });
    }
    let name = day.to_string();
    let found = store.reconciliation(merchant, &name).await?;
    if !is_explainable(day, found.as_ref(), at) {
        return Err(ExplainError::NotOpen);
    }
    let audit = AuditEntry {
        merchant: Some(merchant.clone()),
        subject: Some(format!("reconciliation:{name}")),
        ..operator.audit("reconciliation.explain", note.clone(), at)
    };
    let explained = ExplainedDay {
        merchant: merchant.clone(),
        day: name,
        run: found.map_or(0, |found| found.run),
        note: DayNote { note, by: operator.name.clone(), at },
        audit,
    };
    if store.explain_day(explained).await? { Ok(()) } else { Err(ExplainError::NotOpen) }
}
