//! What WeChat says of a payment now, before money of it is decided on.

use crate::config::Merchant;
use crate::event::fact::Fact;
use crate::money::Fen;
use crate::ops::replay::Tools;
use crate::store::PaidAttempt;
use crate::wechat::v2::query::{Asked, ask_payment};

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

/// Asks WeChat about a payment; what it holds is what was reported.
pub async fn confirm(tools: Tools<'_>, merchant: &Merchant, payment: &PaidAttempt) -> Result<Held, NotConfirmed> {
    let transaction_id = &payment.transaction_id;
    let (said, is_refunded) = match ask_payment(tools.wechat, merchant, &payment.appid, transaction_id).await {
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
    Ok(Held { total: said.total_fee, currency: said.fee_type, is_refunded })
}
