//! A reconciled day as a proof, its lines, and their notes.

use super::reconciled::decimal;
use crate::clock::Clock;
use crate::ids::MerchantKey;
use crate::ops::Operator;
use crate::reconciliation::{LineClass, Resolution};
use crate::store::{AuditEntry, ClassSum, DbError, Line, LineChange, Reconciliation, Store};

/// A day's result: the bill's total, less what each class explains, is ours.
#[derive(Debug, Clone)]
pub struct Proof {
    pub day: Reconciliation,
    pub classes: Vec<ClassSum>,
    /// Of the bill, as decimals in yuan.
    pub fees: String,
}

impl Proof {
    pub const fn bill_fen(&self) -> i64 {
        self.day.bill.payments_fen - self.day.bill.refunds_fen
    }

    pub const fn ledger_fen(&self) -> i64 {
        self.day.ledger.payments_fen - self.day.ledger.refunds_fen
    }
}

/// A day that was asked for; none where it was not.
pub async fn proof(store: &Store, merchant: &MerchantKey, day: &str) -> Result<Option<Proof>, DbError> {
    let Some(day) = store.reconciliation(merchant, day).await? else { return Ok(None) };
    let (classes, fees) = (store.class_sums(&day).await?, decimal(day.bill.fees));
    Ok(Some(Proof { day, classes, fees }))
}

/// Lines of a day's result behind the line `after`, and where the next page begins.
pub async fn lines(
    store: &Store,
    day: &Reconciliation,
    (class, after): (Option<LineClass>, Option<i64>),
    limit: u64,
) -> Result<(Vec<Line>, Option<i64>), DbError> {
    let lines = store.reconciliation_lines(day, class, after, limit).await?;
    let next = lines.last().filter(|_| lines.len() as u64 >= limit).map(|line| line.id);
    Ok((lines, next))
}

/// Explains an open line by a note. `false` where it is not open, or the day has another result by now.
pub async fn explain(
    store: &Store,
    clock: &Clock,
    operator: &Operator,
    (day, line): (&Reconciliation, i64),
    note: &str,
) -> Result<bool, DbError> {
    let Some(found) = store.reconciliation_line(day, line).await? else { return Ok(false) };
    let now = clock.now();
    let audit = AuditEntry {
        merchant: Some(day.merchant.clone()),
        subject: Some(format!("line:{}:{}:{}", day.day, found.class.as_str(), found.transaction_id)),
        ..operator.audit("reconciliation.resolve", note.to_owned(), now)
    };
    let change = LineChange {
        line,
        to: Resolution::Resolved,
        note: note.to_owned(),
        by: operator.name.clone(),
        at: now,
        audit: audit.clone(),
    };
    let done = store.change_line(day, &change).await?;
    if !done {
        store.record_audit(&AuditEntry { result: "not_open".to_owned(), ..audit }).await?;
    }
    Ok(done)
}
