//! What WeChat says of a payment now, before money of it is decided on.

use crate::config::Merchant;
use crate::event::fact::Fact;
use crate::money::Fen;
use crate::ops::replay::Tools;
use crate::store::PaidAttempt;
use crate::wechat::v2::query::{Asked, ask_payment};
use crate::wechat::v2::refund_query::{self, RefundStatus, RefundsAsked, Which};

/// A payment as WeChat holds it.
#[derive(Debug, Clone)]
pub struct Held {
    pub total: Fen,
    pub currency: String,
    /// Whether money of it went back.
    pub is_refunded: bool,
}

/// Why it is not known to be there.
#[derive(Debug, thiserror::Error)]
pub enum NotConfirmed {
    #[error("WeChat does not hold this payment as it was reported")]
    Differs,
    #[error("{0}")]
    Unavailable(String),
}

impl NotConfirmed {
    /// The result in the audit.
    pub const fn result(&self) -> &'static str {
        match self {
            NotConfirmed::Differs => "payment_differs",
            NotConfirmed::Unavailable(_) => "unconfirmed",
        }
    }
}

/// Asks WeChat about a payment; what it holds is what was reported.
pub async fn confirm(tools: Tools<'_>, merchant: &Merchant, payment: &PaidAttempt) -> Result<Held, NotConfirmed> {
    let transaction_id = &payment.transaction_id;
    let (said, has_refunds) = match ask_payment(tools.wechat, merchant, &payment.appid, transaction_id).await {
        Asked::Fact(Fact::Paid(said), _) => (said, false),
        Asked::Fact(Fact::Refunded(said), _) => (said, true),
        Asked::Fact(_, _) => {
            tracing::error!(%transaction_id, "WeChat knows no such payment");
            return Err(NotConfirmed::Differs);
        }
        Asked::Refused(error) => {
            let why = format!("WeChat refuses the query: {}: {}", error.code, error.message);
            return Err(NotConfirmed::Unavailable(why));
        }
        Asked::Unknown { why, .. } => return Err(NotConfirmed::Unavailable(format!("WeChat: {why}"))),
    };
    if said.total_fee != payment.paid || said.fee_type != payment.currency || said.mch_id != payment.mch_id {
        tracing::error!(%transaction_id, ours = %payment.paid, theirs = %said.total_fee, currency = said.fee_type,
                        "WeChat holds another payment under this number than it reported");
        return Err(NotConfirmed::Differs);
    }
    let is_refunded = has_refunds && went_back(tools, merchant, payment).await?;
    Ok(Held { total: said.total_fee, currency: said.fee_type, is_refunded })
}

/// Whether money of a payment that has refunds went back, or is on its way: WeChat may have closed each of them.
async fn went_back(tools: Tools<'_>, merchant: &Merchant, payment: &PaidAttempt) -> Result<bool, NotConfirmed> {
    let which = Which::Payment(payment.transaction_id.clone(), 0);
    match refund_query::ask(tools.wechat, merchant, &payment.appid, &which).await {
        // With more than a page of refunds one counts that moved money.
        RefundsAsked::Found(found, _) => Ok(found.refunds.iter().any(|r| r.status != RefundStatus::Closed)
            || !found.unreadable.is_empty()
            || found.next_page(0).is_some()),
        RefundsAsked::NotFound => Err(NotConfirmed::Unavailable("WeChat lists no refund of the payment".to_owned())),
        RefundsAsked::Refused(error) => {
            let why = format!("WeChat refuses the query of the refunds: {}: {}", error.code, error.message);
            Err(NotConfirmed::Unavailable(why))
        }
        RefundsAsked::Unknown { why, .. } => Err(NotConfirmed::Unavailable(format!("WeChat: {why}"))),
    }
}
