//! A payment: the ledger first, then the first notification.

use std::sync::Arc;

use super::account::{Handle, PayRefused, PayerFunds};
use super::record::Payment;
use crate::sandbox::notify::schedule;
use crate::sandbox::state::SandboxState;

/// The payer pays. Does not wait for the notification.
pub(in crate::sandbox) fn pay(
    sandbox: &Arc<SandboxState>,
    handle: Handle<'_>,
    funds: PayerFunds,
) -> Result<Payment, PayRefused> {
    let (payment, notification) = {
        let mut book = sandbox.book();
        let payment = book.pay(handle, funds, sandbox.now())?;
        (payment, book.look_up(handle).and_then(|order| sandbox.notification(order)))
    };
    if let Some(notification) = notification {
        schedule::start(sandbox, notification);
    }
    Ok(payment)
}
