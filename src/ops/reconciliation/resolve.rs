//! Explaining a line with a note. It moves no money.

use crate::clock::Clock;
use crate::ids::{OrderNo, TransactionId};
use crate::ops::Operator;
use crate::reconciliation::Resolution;
use crate::store::{AuditEntry, DbError, Line, LineChange, Reconciliation, Store};

/// What resolving a line came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    Done,
    /// It was not open: explained or repaired before, or the day has another result by now.
    NotOpen,
}

/// Explains an open line. The note stays with it in later runs that find the same line.
pub async fn resolve(
    (store, clock): (&Store, &Clock),
    operator: &Operator,
    of: &Reconciliation,
    line: &Line,
    note: String,
) -> Result<Resolved, DbError> {
    let change = change((clock, operator), of, line, ("reconciliation.resolve", Resolution::Resolved), note);
    let done = store.change_line(of, &change).await?;
    Ok(if done { Resolved::Done } else { Resolved::NotOpen })
}

pub(super) fn change(
    (clock, operator): (&Clock, &Operator),
    of: &Reconciliation,
    line: &Line,
    (action, to): (&'static str, Resolution),
    note: String,
) -> LineChange {
    let at = clock.now();
    let audit = AuditEntry {
        merchant: Some(of.merchant.clone()),
        order_no: line.order_no.clone().and_then(|number| OrderNo::parse(number).ok()),
        transaction_id: TransactionId::parse(line.transaction_id.clone()).ok(),
        subject: Some(format!("reconciliation:{}:{}", of.day, line.class.as_str())),
        ..operator.audit(action, note.clone(), at)
    };
    LineChange { line: line.id, to, note, by: operator.name.clone(), at, audit }
}
