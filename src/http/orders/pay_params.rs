//! What a payer can be offered for an order right now.
//!
//! Parameters are signed afresh each time, with the algorithm that the attempt itself was placed with. A prepay id
//! is valid for two hours at WeChat and the address of a browser's payment five minutes; each is offered only while
//! enough of that is left for a payer to use it.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::Timestamp;
use crate::config::Config;
use crate::event::fact::Prepay;
use crate::http::problem::Error;
use crate::order::{Attempt, AttemptState, Intent, OrderState};
use crate::secret::random_text;
use crate::store::StoredOrder;
use crate::trade::{SignType, TradeType};
use crate::wechat::v2::pay_params;

/// How long after its issue a payer's handle is offered.
const fn fresh_for(trade_type: TradeType) -> Duration {
    match trade_type {
        TradeType::Jsapi | TradeType::Native | TradeType::App => Duration::from_secs(110 * 60),
        // The page behind `mweb_url` opens within five minutes or not at all.
        TradeType::Mweb => Duration::from_secs(4 * 60),
    }
}

/// What can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer<'a> {
    /// This attempt can be paid.
    Ready(&'a Attempt, &'a Prepay),
    /// The prepay id, or the address that came with it, is too old: a new one must be fetched.
    Stale,
    /// WeChat has not answered yet.
    Pending,
    /// Nothing, whatever one waits for: paid, closed, refused or expired.
    Nothing,
}

/// What can be offered for `stored` at `now`.
pub fn offer(stored: &StoredOrder, now: Timestamp) -> Offer<'_> {
    let order = &stored.order;
    match order.state {
        OrderState::Paid | OrderState::Closed | OrderState::Failed => return Offer::Nothing,
        // What is about to be closed is not offered, and neither is what makes way for a new attempt.
        OrderState::Requested | OrderState::Payable if matches!(order.intent, Some(Intent::Close)) => {
            return Offer::Nothing;
        }
        OrderState::Requested | OrderState::Payable if order.is_blocked() => return Offer::Nothing,
        OrderState::Requested | OrderState::Payable if order.intent.is_some() => return Offer::Pending,
        OrderState::Requested | OrderState::Payable if now >= order.expires_at => return Offer::Nothing,
        OrderState::Requested => return Offer::Pending,
        OrderState::Payable => {}
    }
    let Some(attempt) = order.current() else { return Offer::Pending };
    match (attempt.state, &attempt.prepay) {
        (AttemptState::Payable, Some(prepay)) if now.since(prepay.issued_at) < fresh_for(attempt.trade_type) => {
            Offer::Ready(attempt, prepay)
        }
        (AttemptState::Payable, _) => Offer::Stale,
        (AttemptState::Created | AttemptState::Unknown, _) => Offer::Pending,
        (AttemptState::Paid | AttemptState::Closed | AttemptState::Failed, _) => Offer::Nothing,
    }
}

/// The freshly signed parameters, where the order can be paid right now.
pub fn signed(config: &Config, stored: &StoredOrder, now: Timestamp) -> Result<Option<Map<String, Value>>, Error> {
    let Offer::Ready(attempt, prepay) = offer(stored, now) else { return Ok(None) };
    let internal = |what: &str| Error::Internal { internal: format!("order {}: {what}", stored.order.order_no) };
    let merchant =
        config.merchant(stored.order.merchant.as_str()).ok_or_else(|| internal("merchant not configured"))?;
    let sign_type = stored.params.last().and_then(|params| SignType::parse(&params.sign_type));
    let sign_type = sign_type.ok_or_else(|| internal("attempt without a known sign_type"))?;
    let params = pay_params::for_client(
        attempt.trade_type,
        &attempt.appid,
        &attempt.mch_id,
        prepay,
        &merchant.v2_key,
        sign_type,
        now,
        random_text(32),
    );
    params.map(Some).map_err(|e| internal(&e.to_string()))
}
