//! A call as it is noted: when, how long, and what it came to.

use super::call_log::CallLog;
use crate::clock::{Clock, Timestamp};
use crate::config::Merchant;
use crate::event::fact::{Fact, WechatError};
use crate::ids::MerchantKey;
use crate::store::{CallAbout, CallOutcome, CallRecord};
use crate::wechat::outcome::Api;
use crate::wechat::v2::close::Closed;
use crate::wechat::v2::query::Asked;
use crate::wechat::v2::refund::Refunding;
use crate::wechat::v2::refund_query::{RefundsAsked, Which};
use crate::wechat::v2::unified_order::{Answer, Placed};
use crate::wechat::v2::xml::Fields;
use crate::worker::core::context::Context;

/// What a call came to, and the words.
type Result = (CallOutcome, Option<WechatError>);

/// A call that is being made.
pub(super) struct Made<'a> {
    log: &'a CallLog,
    clock: &'a Clock,
    merchant: MerchantKey,
    api: Api,
    at: Timestamp,
}

impl<'a> Made<'a> {
    pub fn begin(ctx: &'a Context, merchant: &Merchant, api: Api) -> Made<'a> {
        let (merchant, at) = (merchant.key.clone(), ctx.clock.now());
        Made { log: &ctx.calls, clock: &ctx.clock, merchant, api, at }
    }

    pub fn ended(self, about: CallAbout, (outcome, said): Result) {
        let Made { log, clock, merchant, api, at } = self;
        let took = clock.now().since(at);
        log.note(CallRecord { merchant, about, api: api.name(), at, took, outcome, said });
    }
}

/// The attempt that the parameters of a unified order name.
pub(super) fn attempt_of(params: &Fields) -> CallAbout {
    CallAbout::Attempt(params.get("out_trade_no").cloned().unwrap_or_default())
}

/// The refund that the parameters of its call name.
pub(super) fn refund_of(params: &Fields) -> CallAbout {
    CallAbout::Refund(params.get("out_refund_no").cloned().unwrap_or_default())
}

/// What a query about refunds names.
pub(super) fn about(which: &Which) -> CallAbout {
    match which {
        Which::Refund(refund_no) => CallAbout::Refund(refund_no.to_string()),
        Which::Payment(transaction_id, _) => CallAbout::Payment(transaction_id.to_string()),
        Which::Attempt(out_trade_no, _) => CallAbout::Attempt(out_trade_no.to_string()),
    }
}

pub(super) fn placed(answer: &Answer) -> Result {
    match &answer.placed {
        Placed::Issued(_) => (CallOutcome::Done, None),
        Placed::Refused(error) | Placed::Setup(error) | Placed::Ask(error) | Placed::Closed(error) => refused(error),
        Placed::Unknown { why, said } => unknown(why, said.as_ref()),
    }
}

pub(super) fn queried(asked: &Asked) -> Result {
    match asked {
        Asked::Fact(fact, _) => (CallOutcome::Done, trade_state(fact).map(|code| words(code, ""))),
        Asked::Refused(error) => refused(error),
        Asked::Unknown { why, said } => unknown(why, said.as_ref()),
    }
}

pub(super) fn was_closed(closed: &Closed) -> Result {
    match closed {
        Closed::Done => (CallOutcome::Done, None),
        Closed::AlreadyPaid => (CallOutcome::Refused, Some(words("ORDERPAID", ""))),
        Closed::NotFound => (CallOutcome::Refused, Some(words("ORDERNOTEXIST", ""))),
        Closed::Refused(error) => refused(error),
        Closed::Unknown { why, said } => unknown(why, said.as_ref()),
    }
}

pub(super) fn refunded(refunding: &Refunding) -> Result {
    match refunding {
        Refunding::Accepted(..) => (CallOutcome::Done, None),
        Refunding::Refused(error)
        | Refunding::Ask(error)
        | Refunding::Doubt(error)
        | Refunding::Later(error)
        | Refunding::TooFrequent(error) => refused(error),
        Refunding::Unknown { why, said } => unknown(why, said.as_ref()),
    }
}

pub(super) fn listed(asked: &RefundsAsked) -> Result {
    match asked {
        RefundsAsked::Found(..) => (CallOutcome::Done, None),
        RefundsAsked::NotFound => (CallOutcome::Done, Some(words("REFUNDNOTEXIST", ""))),
        RefundsAsked::Refused(error) => refused(error),
        RefundsAsked::Unknown { why, said } => unknown(why, said.as_ref()),
    }
}

fn refused(error: &WechatError) -> Result {
    (CallOutcome::Refused, Some(error.clone()))
}

fn unknown(why: &str, said: Option<&WechatError>) -> Result {
    (CallOutcome::Unknown, Some(said.cloned().unwrap_or_else(|| words("NO_ANSWER", why))))
}

fn words(code: &str, message: &str) -> WechatError {
    WechatError { code: code.to_owned(), message: message.to_owned() }
}

/// WeChat's word for the state that a query found.
fn trade_state(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::Paid(_) => Some("SUCCESS"),
        Fact::Refunded(_) => Some("REFUND"),
        Fact::Unpaid { trade_state } => Some(trade_state),
        Fact::Closed => Some("CLOSED"),
        Fact::NotFound => Some("ORDERNOTEXIST"),
        Fact::PrepayIssued(_)
        | Fact::PlacementRefused(_)
        | Fact::SetupRefused { .. }
        | Fact::PlacementUnknown { .. }
        | Fact::PaymentAccepted(_)
        | Fact::CloseRequested
        | Fact::AttemptRequested { .. } => None,
    }
}
