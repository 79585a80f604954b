//! Placing an attempt at WeChat, and taking its answer to the order.
//!
//! A repeat sends the stored parameters byte for byte. A refusal counts only if no earlier call of this number can have
//! been executed: after an unanswered call, "parameter error" says nothing about the first one. A call that is refused
//! for the merchant's setup is not executed, and its number waits.

use std::sync::Arc;
use std::time::Duration;

use super::answer::{refused, source};
use crate::bus::Verdict;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::fact::{Fact, WechatError};
use crate::ids::{AppId, MerchantKey, OutTradeNo};
use crate::order::{AttemptState, CLOSABLE_AFTER, MAX_ATTEMPTS, Queries};
use crate::retry::{Policy, retry_while};
use crate::store::{AttemptParams, EvidenceSource, NewOrder, RecordedRow, StoredOrder};
use crate::trade::TradeType;
use crate::wechat::outcome;
use crate::wechat::v2::close::Closed;
use crate::wechat::v2::query::Asked;
use crate::wechat::v2::unified_order::{Answer, Placed};
use crate::worker::core::context::Context;
use crate::worker::core::error::failed;
use crate::worker::core::fact::{Applied, Item};
use crate::worker::core::setup_judge::{OrderCall, Whose, judge, order_accepted, order_refused};
use crate::worker::pay::calls as pay;
use crate::worker::pay::pacer::PutOff;

/// Calls of one number before its outcome is left to the query.
const CALLS: Policy = Policy {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(2),
    tries: 3,
    deadline: Duration::from_secs(10),
};

#[derive(Debug, Clone)]
pub struct Target {
    merchant: MerchantKey,
    out_trade_no: OutTradeNo,
    params: AttemptParams,
    created_at: Timestamp,
    /// Whether an earlier call of this number may have been executed, if this is a repeat: before a first delivery
    /// there was none.
    may_have_been_called: bool,
    /// Whether it is recorded that no call was executed: a call that is not made must not change that.
    waits: bool,
    /// For a number that a payer was offered already: what asks for another one in its place.
    instead: Option<Fact>,
    /// The order as this process has just recorded it, or loaded it with its claim.
    recorded: Option<Arc<StoredOrder>>,
}

impl Target {
    /// The first attempt of an order that was just recorded.
    pub fn first(order: &NewOrder, row: &RecordedRow) -> Target {
        Target {
            merchant: order.content.merchant.clone(),
            out_trade_no: order.out_trade_no.clone(),
            params: order.params.clone(),
            created_at: order.created_at,
            // A repeat cannot rule out that the delivery before called.
            may_have_been_called: true,
            waits: false,
            instead: None,
            recorded: Some(Arc::new(order.as_stored(row))),
        }
    }

    /// The current attempt, if it still waits for WeChat's answer and the order for a payer.
    pub fn current(stored: &StoredOrder, now: Timestamp) -> Option<Target> {
        Target::of(stored, now, |state| match state {
            AttemptState::Created | AttemptState::Unknown => true,
            AttemptState::Payable | AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => false,
        })
    }

    /// The same, for who has just claimed the order.
    pub fn claimed(stored: StoredOrder, now: Timestamp) -> Option<Target> {
        let target = Target::current(&stored, now)?;
        Some(Target { recorded: Some(Arc::new(stored)), ..target })
    }

    /// Whether no call of the number was executed.
    pub fn is_unused(&self) -> bool {
        !self.may_have_been_called
    }

    /// Its number.
    pub fn into_number(self) -> OutTradeNo {
        self.out_trade_no
    }

    /// The current attempt, if it was just recorded and WeChat was never called for it.
    pub fn unplaced(stored: &StoredOrder, now: Timestamp) -> Option<Target> {
        Target::of(stored, now, |state| state == AttemptState::Created)
    }

    /// The current attempt, if it may need a prepay id, its first or a fresh one.
    pub fn renewable(stored: &StoredOrder, now: Timestamp) -> Option<Target> {
        Target::of(stored, now, |state| match state {
            AttemptState::Created | AttemptState::Unknown | AttemptState::Payable => true,
            AttemptState::Paid | AttemptState::Closed | AttemptState::Failed => false,
        })
    }

    fn of(stored: &StoredOrder, now: Timestamp, wanted: impl Fn(AttemptState) -> bool) -> Option<Target> {
        let open = !stored.order.wants_close(now);
        let attempt = stored.order.current().filter(|a| open && wanted(a.state))?;
        Some(Target {
            merchant: stored.order.merchant.clone(),
            out_trade_no: attempt.out_trade_no.clone(),
            params: stored.params.last()?.clone(),
            created_at: attempt.created_at,
            may_have_been_called: attempt.setup_refusals.is_none(),
            waits: attempt.setup_refusals.is_some(),
            instead: (attempt.state == AttemptState::Payable).then_some(Fact::AttemptRequested {
                trade_type: attempt.trade_type,
                expires_at: stored.order.expires_at,
            }),
            recorded: None,
        })
    }
}

/// What placing an order came to.
pub struct Submitted {
    pub verdict: Verdict,
    /// The order, where WeChat's answer changed it.
    pub order: Option<Box<StoredOrder>>,
}

impl From<Verdict> for Submitted {
    fn from(verdict: Verdict) -> Submitted {
        Submitted { verdict, order: None }
    }
}

/// [`submit`] for those who need no more than the verdict.
pub async fn place(ctx: &Context, target: Target, repeated: bool) -> Verdict {
    submit(ctx, target, repeated).await.verdict
}

/// Places `target`; goes on with the next number when WeChat uses this one up. `repeated` says that an earlier delivery
/// may have called already.
pub async fn submit(ctx: &Context, target: Target, repeated: bool) -> Submitted {
    let mut target = Target { may_have_been_called: target.may_have_been_called && repeated, ..target };
    for _ in 0..MAX_ATTEMPTS {
        let Some(merchant) = ctx.config.merchant(target.merchant.as_str()) else {
            let why = "no such merchant is configured".into();
            return Verdict::Park { reason: "unknown_merchant", why }.into();
        };
        let Learnt { fact, source, never_placed, setup } = match call(ctx, merchant, &target).await {
            Ok(learnt) => learnt,
            Err(put_off) => return put_back(ctx, &target, put_off).await.into(),
        };
        crate::failpoint::point("worker.order_answered");
        log(&target.out_trade_no, &fact);
        let now = ctx.clock.now();
        let item = Item::new(&ctx.config, target.merchant.clone(), target.out_trade_no.clone(), fact, source, now);
        // Another delivery may have changed it by now.
        let recorded = target.recorded.take().filter(|_| !repeated);
        let item = Item { never_placed, recorded, ..item };
        let applied = ctx.apply(item).await;
        // After the order: a process that dies between the two loses what the next call says again.
        if applied.is_ok() {
            shown(ctx, merchant, &target, setup).await;
        }
        match applied {
            Ok(Applied::Changed(stored)) => match Target::current(&stored, now) {
                Some(next) if next.out_trade_no != target.out_trade_no => {
                    target = Target { may_have_been_called: false, ..next };
                }
                _ => return Submitted { verdict: Verdict::Done, order: Some(stored) },
            },
            Ok(Applied::Settled | Applied::Already | Applied::UnknownOrder) => return Verdict::Done.into(),
            Ok(Applied::AskAgain { order, at, .. }) => {
                let order = &order.order;
                // An earlier poll that is planned stays: it may be the close that a caller waits for.
                let planned = order.queries.next_at.filter(|planned| *planned > now);
                let next_at = Some(planned.map_or(at, |planned| planned.min(at)));
                let queries = Queries { next_at, answered_at: None, ..order.queries };
                let scheduled = ctx.store.schedule_query(order.id, order.version, order.queries.next_at, queries).await;
                return scheduled.map_or_else(failed, |()| Verdict::Done).into();
            }
            Ok(Applied::Refused { refusal, first }) => return refused(&refusal, first).into(),
            Err(e) => return failed(e).into(),
        }
    }
    Verdict::Done.into()
}

/// One line about an answer that leaves the order waiting.
fn log(number: &OutTradeNo, fact: &Fact) {
    match fact {
        Fact::PlacementUnknown { why, .. } => {
            tracing::warn!(order.out_trade_no = %number, why, "the outcome of the unified order is unknown");
        }
        Fact::SetupRefused { error, alone } => {
            let (code, said) = (&error.code, &error.message);
            tracing::info!(order.out_trade_no = %number, code, said, alone, "WeChat refuses the setup of the order");
        }
        _ => {}
    }
}

/// Polls the order when there may be a permit.
async fn put_back(ctx: &Context, target: &Target, put_off: PutOff) -> Verdict {
    let at = ctx.clock.now().after(put_off.after);
    let numbers = std::slice::from_ref(&target.out_trade_no);
    match ctx.store.orders_by_out_trade_no(&target.merchant, numbers).await {
        Ok(orders) => match orders.first() {
            Some(stored) => match ctx.store.poll_order_by(stored.order.id, at).await {
                Ok(()) => Verdict::Done,
                Err(e) => failed(e),
            },
            None => Verdict::Done,
        },
        Err(e) => failed(e),
    }
}

/// What an answer shows of the merchant's setup.
enum Setup {
    Accepted,
    Refused(WechatError),
    Unclear,
}

async fn shown(ctx: &Context, merchant: &Merchant, target: &Target, setup: Setup) {
    let call = OrderCall { appid: appid(target), trade_type: trade_type(target) };
    match setup {
        Setup::Accepted => order_accepted(ctx, merchant, &call).await,
        Setup::Refused(error) => order_refused(ctx, merchant, &call, &error).await,
        Setup::Unclear => {}
    }
}

/// What came of a call.
struct Learnt {
    fact: Fact,
    source: EvidenceSource,
    setup: Setup,
    /// Before the call none of the number can have been executed.
    never_placed: bool,
}

/// Calls WeChat, with repeats while the outcome is unknown, and says what that tells.
async fn call(ctx: &Context, merchant: &Merchant, target: &Target) -> Result<Learnt, PutOff> {
    // Whether a call before the last one may have been executed.
    let mut may_have_been_called = target.may_have_been_called;
    // What WeChat throttles is not repeated here: that would only add to it. The order's next question does.
    let is_unknown = |answer: &Result<Answer, PutOff>| {
        let Ok(Answer { placed: Placed::Unknown { said, .. }, sent, .. }) = answer else { return false };
        let again = !said.as_ref().is_some_and(outcome::is_throttled);
        may_have_been_called |= again && *sent;
        again
    };
    let params = &target.params.params;
    let answer = retry_while(CALLS, || pay::place(ctx, merchant, params, ctx.clock.now()), is_unknown).await;
    let here = EvidenceSource::UnifiedOrder;
    let Answer { placed, earlier_may_have_executed, sent } = match answer {
        Ok(answer) => answer,
        Err(put_off) if target.waits && !may_have_been_called => return Err(put_off),
        Err(put_off) => {
            let fact =
                Fact::PlacementUnknown { why: put_off.to_string(), said: None, not_called: !may_have_been_called };
            return Ok(Learnt { fact, source: here, setup: Setup::Unclear, never_placed: !may_have_been_called });
        }
    };
    may_have_been_called |= earlier_may_have_executed;
    let setup = match &placed {
        Placed::Issued(_) => Setup::Accepted,
        Placed::Refused(error) => Setup::Refused(error.clone()),
        Placed::Setup(_) | Placed::Closed(_) | Placed::Ask(_) | Placed::Unknown { .. } => Setup::Unclear,
    };
    let (fact, source) = match placed {
        Placed::Issued(prepay) => (Fact::PrepayIssued(prepay), here),
        Placed::Refused(error) if may_have_been_called => (unknown(error), here),
        Placed::Refused(error) => (Fact::PlacementRefused(error), here),
        Placed::Setup(error) => match judge(ctx, merchant, appid(target).as_ref(), &error).await {
            _ if may_have_been_called => (unknown(error), here),
            whose => (Fact::SetupRefused { error, alone: whose == Whose::Orders }, here),
        },
        Placed::Closed(_) => (Fact::Closed, here),
        Placed::Ask(error) => ask(ctx, merchant, target, error, may_have_been_called).await,
        Placed::Unknown { why, said } => {
            (Fact::PlacementUnknown { why, said, not_called: !sent && !may_have_been_called }, here)
        }
    };
    Ok(Learnt { fact, source, setup, never_placed: !may_have_been_called })
}

fn appid(target: &Target) -> Option<AppId> {
    target.params.params.get("appid").and_then(|id| AppId::parse(id.clone()).ok())
}

fn trade_type(target: &Target) -> Option<TradeType> {
    target.params.params.get("trade_type").and_then(|name| TradeType::parse(name))
}

/// A refusal that proves nothing about the number.
fn unknown(error: WechatError) -> Fact {
    Fact::PlacementUnknown { why: format!("{}: {}", error.code, error.message), said: Some(error), not_called: false }
}

/// WeChat knows the number already: ask what it knows.
async fn ask(
    ctx: &Context,
    merchant: &Merchant,
    target: &Target,
    error: WechatError,
    may_have_been_called: bool,
) -> (Fact, EvidenceSource) {
    let here = EvidenceSource::UnifiedOrder;
    let Some(appid) = appid(target) else {
        let why = "the stored parameters name no appid".into();
        return (Fact::PlacementUnknown { why, said: None, not_called: false }, here);
    };
    match pay::ask(ctx, merchant, &appid, &target.out_trade_no).await {
        // Of a number that was never placed the payment is an older order's of this merchant: it is held.
        Asked::Fact(fact @ (Fact::Paid(_) | Fact::Refunded(_) | Fact::Closed), raw) => (fact, source(merchant, &raw)),
        // WeChat has no such order: what it refused were the parameters.
        Asked::Fact(Fact::NotFound, _) if !may_have_been_called => (Fact::PlacementRefused(error), here),
        // Another system of this merchant uses the number and it is unpaid; it is not ours to close.
        Asked::Fact(Fact::Unpaid { .. }, _) if !may_have_been_called => (Fact::PlacementRefused(error), here),
        Asked::Fact(Fact::Unpaid { .. }, _) => (used_up(ctx, merchant, target, &appid, error).await, here),
        Asked::Fact(_, _) | Asked::Refused(_) | Asked::Unknown { .. } => (unknown(error), here),
    }
}

/// A number of ours that is unpaid and for which WeChat gives out no prepay id any more: another one must take its
/// place.
async fn used_up(ctx: &Context, merchant: &Merchant, target: &Target, appid: &AppId, error: WechatError) -> Fact {
    // A payer was offered it: it is closed as for another way to pay, and the order goes on.
    if let Some(instead) = &target.instead {
        return instead.clone();
    }
    let unknown = unknown(error);
    if ctx.clock.now().since(target.created_at) < CLOSABLE_AFTER {
        return unknown;
    }
    match pay::close(ctx, merchant, appid, &target.out_trade_no).await {
        Closed::Done => Fact::Closed,
        Closed::AlreadyPaid | Closed::NotFound | Closed::Refused(_) | Closed::Unknown { .. } => unknown,
    }
}
