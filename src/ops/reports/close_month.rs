//! Closing a month, and reopening the last one that is closed.

use std::time::Duration;

use super::periods::{Month, figures, text_of};
use super::reconciled::DayState;
use crate::clock::Clock;
use crate::ids::MerchantKey;
use crate::ops::Operator;
use crate::secret::sha256_hex;
use crate::store::{AuditEntry, DbError, NewClosing, PeriodChange, Store};

/// Longer than any transaction takes: what was recorded before the cut can be read.
pub(super) const SETTLES: Duration = Duration::from_secs(600);

/// Why a month is not closed or reopened.
#[derive(Debug, thiserror::Error)]
pub enum PeriodError {
    /// It is not over.
    #[error("the month is not over")]
    NotOver,
    /// Days of it that are neither balanced nor explained.
    #[error("{} days of the month are neither balanced nor explained", .0.len())]
    OpenDays(Vec<(String, DayState)>),
    /// Months are closed in their order, and reopened in the other.
    #[error("months are closed in their order and reopened in the other: the last one that is closed is {last}")]
    OutOfOrder { last: String },
    #[error(transparent)]
    Store(#[from] DbError),
}

impl PeriodError {
    /// Its result in the audit.
    fn result(&self) -> Option<&'static str> {
        match self {
            PeriodError::NotOver => Some("not_over"),
            PeriodError::OpenDays(_) => Some("open_days"),
            PeriodError::OutOfOrder { .. } => Some("out_of_order"),
            PeriodError::Store(_) => None,
        }
    }
}

/// Closes a month; whether it was not closed before. A refusal is in the audit.
pub async fn close_month(
    store: &Store,
    clock: &Clock,
    operator: &Operator,
    (merchant, month): (&MerchantKey, &Month),
    reason: &str,
) -> Result<bool, PeriodError> {
    let audit = audit(operator, "period.close", (merchant, month), reason, clock);
    let closed = closed(store, clock, (merchant, month), &audit).await;
    audited(store, closed, audit).await
}

async fn closed(
    store: &Store,
    clock: &Clock,
    (merchant, month): (&MerchantKey, &Month),
    audit: &AuditEntry,
) -> Result<bool, PeriodError> {
    if store.closed_months(merchant).await?.iter().any(|closed| closed.month == month.text) {
        return Ok(false);
    }
    let closed_at = clock.now();
    let cut_at = closed_at.before(SETTLES);
    let Some(before) = month.before().filter(|_| month.ends_at <= cut_at) else { return Err(PeriodError::NotOver) };
    let refund_moves = store.refund_moves(merchant).await?;
    let figures = figures(store, merchant, month, cut_at).await?;
    let open = figures.days.iter().filter(|day| !day.state.is_settled());
    let open: Vec<_> = open.map(|day| (day.day.clone(), day.state)).collect();
    if !open.is_empty() {
        return Err(PeriodError::OpenDays(open));
    }
    let figures = text_of(&figures)?;
    let new = NewClosing {
        merchant: merchant.clone(),
        month: month.text.clone(),
        month_before: before.text,
        closed_at,
        cut_at,
        refund_moves,
        hash: sha256_hex(figures.as_bytes()),
        figures,
        audit: audit.clone(),
    };
    match store.close_period(new).await {
        Ok(PeriodChange::Done) => Ok(true),
        // Another process closed it at the same moment.
        Ok(PeriodChange::Already) | Err(DbError::Exists(_)) => Ok(false),
        Ok(PeriodChange::OutOfOrder { last }) => Err(PeriodError::OutOfOrder { last }),
        Err(e) => Err(e.into()),
    }
}

/// Reopens the last month that is closed; whether it was closed. A refusal is in the audit.
pub async fn reopen_month(
    store: &Store,
    clock: &Clock,
    operator: &Operator,
    (merchant, month): (&MerchantKey, &Month),
    reason: &str,
) -> Result<bool, PeriodError> {
    let audit = audit(operator, "period.reopen", (merchant, month), reason, clock);
    let reopened = match store.reopen_period(merchant, &month.text, audit.clone()).await {
        Ok(PeriodChange::Done) => Ok(true),
        Ok(PeriodChange::Already) => Ok(false),
        Ok(PeriodChange::OutOfOrder { last }) => Err(PeriodError::OutOfOrder { last }),
        Err(e) => Err(e.into()),
    };
    audited(store, reopened, audit).await
}

fn audit(
    operator: &Operator,
    action: &'static str,
    (merchant, month): (&MerchantKey, &Month),
    reason: &str,
    clock: &Clock,
) -> AuditEntry {
    let subject = Some(format!("period:{}", month.text));
    let entry = operator.audit(action, reason.to_owned(), clock.now());
    AuditEntry { merchant: Some(merchant.clone()), subject, ..entry }
}

/// Notes what changed nothing.
async fn audited(store: &Store, done: Result<bool, PeriodError>, audit: AuditEntry) -> Result<bool, PeriodError> {
    let result = match &done {
        Ok(true) => None,
        Ok(false) => Some("repeated"),
        Err(error) => error.result(),
    };
    if let Some(result) = result {
        store.record_audit(&AuditEntry { result: result.to_owned(), ..audit }).await?;
    }
    done
}
