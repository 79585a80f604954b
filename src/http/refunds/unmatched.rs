//! Payments of no order, before money of them goes back: WeChat is asked what it holds.
//!
//! Such a payment was reported by a message that WeChat posted, and no question was asked since. Only WeChat's answer
//! says what is given back.

use crate::config::Merchant;
use crate::http::ops::tools;
use crate::http::problem::Error;
use crate::http::state::HttpState;
use crate::money::Fen;
use crate::ops::money::{Held, confirm};
use crate::store::PaidAttempt;

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
        let Held { total, currency, .. } = confirm(tools(self), merchant, payment).await?;
        Ok(Confirmed { total, currency })
    }
}
