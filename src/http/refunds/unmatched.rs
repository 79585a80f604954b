//! Payments of no order, before money of them goes back: WeChat is asked what it holds.
//!
//! Such a payment was reported by a message that WeChat posted, and no question was asked since. Only WeChat's answer
//! says what is given back.

use crate::config::Merchant;
use crate::event::fact::Fact;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::money::Fen;
use crate::store::PaidAttempt;
use crate::wechat::v2::query;
use crate::wechat::v2::query::Asked;

/// What was paid, in WeChat's words.
pub struct Confirmed {
    pub total: Fen,
    pub currency: String,
}

impl HttpState {
    /// What WeChat says of the payment now, where it is of no order. What is known of an order's came from such an
    /// answer.
    pub(crate) async fn confirmed(&self, merchant: &Merchant, payment: &PaidAttempt) -> Result<Confirmed, Error> {
        if payment.order_id.is_some() {
            return Ok(Confirmed { total: payment.paid, currency: payment.currency.clone() });
        }
        if !self.within_refund_budget(&merchant.key) {
            return Err(Error::Unavailable { internal: "the merchant's questions of this second are used up".into() });
        }
        let transaction_id = &payment.transaction_id;
        let said = match query::ask_payment(&self.wechat, merchant, &payment.appid, transaction_id).await {
            Asked::Fact(Fact::Paid(said) | Fact::Refunded(said), _) => said,
            Asked::Fact(_, _) => {
                tracing::error!(%transaction_id, "WeChat knows no such payment");
                return Err(Error::PaymentDiffers);
            }
            Asked::Refused(error) => {
                let internal = format!("WeChat refuses the query: {}: {}", error.code, error.message);
                return Err(Error::Unavailable { internal });
            }
            Asked::Unknown { why, .. } => return Err(Error::Unavailable { internal: format!("WeChat: {why}") }),
        };
        if said.total_fee != payment.paid || said.fee_type != payment.currency || said.mch_id != payment.mch_id {
            tracing::error!(%transaction_id, ours = %payment.paid, theirs = %said.total_fee, currency = said.fee_type,
                            "WeChat holds another payment under this number than it reported");
            return Err(Error::PaymentDiffers);
        }
        Ok(Confirmed { total: said.total_fee, currency: said.fee_type })
    }
}
