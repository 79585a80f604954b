//! Mending a line: WeChat is asked, and what it confirms is written with the audit row.

use super::enter::enter;
use super::enter_refund::enter_refund;
use super::mended::Mended;
use super::repair::{Mend, PlanItem, Repair, RepairError};
use super::resolve::change;
use crate::config::Merchant;
use crate::ops::Operator;
use crate::ops::commands;
use crate::reconciliation::Resolution;
use crate::store::{AskedLine, Reconciliation};

/// For whom lines are mended.
pub(super) struct By<'a> {
    pub operator: &'a Operator,
    pub merchant: &'a Merchant,
    pub reason: &'a str,
    /// WeChat was asked about these lines before, which the audit has.
    pub is_again: bool,
}

/// Mends a line and writes what that came to.
pub(super) async fn mend_line(
    on: Repair<'_>,
    by: &By<'_>,
    of: &Reconciliation,
    item: &PlanItem,
) -> Result<Mended, RepairError> {
    let line = &item.line;
    let changed = |result: &str| {
        let note = format!("{} ({}: {result})", by.reason, item.mend.as_str());
        change((on.clock, by.operator), of, line, ("reconciliation.repair", Resolution::Repaired), note)
    };
    let mended = match (&item.mend, &item.order) {
        (Mend::AskAboutOrder | Mend::AdoptRefund, Some(order)) => {
            commands::ask(on.bus, on.clock, &order.order).await?;
            Mended::Asked { is_audited: false }
        }
        (Mend::EnterPayment, _) => enter(on, by.merchant, (of, line), &changed("entered")).await?,
        (Mend::AdoptRefund, None) => enter_refund(on, by.merchant, line, changed("asked").audit).await?,
        (Mend::Rerun, _) => Mended::Known,
        (Mend::Note | Mend::AskAboutOrder, _) => Mended::Note,
    };
    match &mended {
        Mended::Known => {
            let change = changed(mended.word());
            // The day may have another result by now; what was found is audited all the same.
            if !on.store.change_line(of, &change).await? {
                on.store.record_audit(&change.audit).await?;
            }
        }
        Mended::Asked { .. } | Mended::Waiting(_) | Mended::Refused(_) => {
            let has_row = by.is_again || !mended.waits() || mended == Mended::Asked { is_audited: true };
            let asked = AskedLine {
                line: line.id,
                at: mended.waits().then(|| on.clock.now()),
                said: mended.said().map(str::to_owned),
                audit: (!has_row).then(|| changed(mended.word()).audit),
            };
            on.store.note_asked(&asked).await?;
        }
        Mended::Entered | Mended::Note => {}
    }
    Ok(mended)
}
