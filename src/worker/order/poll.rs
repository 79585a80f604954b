//! `query.due`: poll one order. Ask WeChat how it stands, take the answer the same way as a notification's, and
//! close at WeChat what should take no money any more.
//!
//! This is what resolves an unknown outcome, finds a payment whose notification was lost, and ends what has expired.
//! What must stay true: nothing is closed here that WeChat did not just call unpaid, and nothing counts as closed
//! before WeChat said so.

use std::time::Duration;

use super::answer;
use super::answer::source;
use super::by_app;
use super::claim::place_again;
use super::corrected::{corrected, moved};
use super::submit::{Target, place};
use crate::bus::Verdict;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::command::QueryDue;
use crate::event::envelope::Envelope;
use crate::event::fact::Fact;
use crate::ids::{OutTradeNo, TransactionId};
use crate::order::{AttemptState, CLOSABLE_AFTER, HOURLY, OrderState, Queries, Refusal, next_poll, next_unanswered};
use crate::refund::RefundRefusal;
use crate::store::{EvidenceSource, StoredOrder};
use crate::wechat::v2::close::Closed;
use crate::wechat::v2::query::Asked;
use crate::worker::core::context::Context;
use crate::worker::core::error::{HandlerError, failed};
use crate::worker::core::fact::{Applied, Item};
use crate::worker::core::handler::Handler;
use crate::worker::refund::{Listed, learn_all};

/// A question older than this was asked anew by the scheduler; after an outage there may be thousands of them.
pub const STALE: Duration = Duration::from_secs(60);

/// When a replayed poll that WeChat did not answer may be tried again.
const UNANSWERED: Duration = Duration::from_secs(5);

/// Handles `query.due`.
pub struct PollOrder;

impl Handler for PollOrder {
    type Data = QueryDue;

    /// An order keeps its due time: when its merchant is configured again, it is polled.
    const REPUBLISHED: bool = true;

    async fn handle(ctx: &Context, merchant: &Merchant, event: Envelope<QueryDue>, attempt: u32) -> Verdict {
        let stored = match ctx.store.order(&merchant.key, &event.data.order_no).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Verdict::Park { reason: "unknown_order", why: "no such order".into() },
            Err(e) => return failed(e),
        };
        let now = ctx.clock.now();
        // Under clock skew nothing due may be dropped: an old poll is dropped only where the order has a later one.
        let has_a_later_one = stored.order.queries.next_at.is_none_or(|at| at > now);
        if ctx.replay.is_none() && now.since(event.time) > STALE && has_a_later_one {
            return Verdict::Done;
        }
        process(ctx, merchant, stored, Why { refresh: event.data.refresh, again: attempt > 1 }).await
    }
}

/// Why an order is polled.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::worker) struct Why {
    /// A caller waits for the answer; the order's own questions go on as they would have.
    pub refresh: bool,
    /// The message was delivered before.
    pub again: bool,
}

/// What polling an order found so far.
struct Polling<'a> {
    ctx: &'a Context,
    merchant: &'a Merchant,
    stored: StoredOrder,
    /// When the order's next poll was due as it was read.
    due: Option<Timestamp>,
    /// The unified order of the current attempt must be repeated.
    resubmit: bool,
    /// This poll opened a new attempt: no other process has called WeChat for it.
    opened: bool,
    /// WeChat answered something.
    answered: bool,
    /// A question or a close had no answer.
    unanswered: bool,
    /// The first contradiction that was found.
    refused: Option<(Refusal, bool)>,
    /// Payments whose refunds were asked for.
    listed: Vec<TransactionId>,
    /// WeChat reports refunds that could not be queried now.
    unlearnt: bool,
    /// WeChat reports a refund that contradicts ours, and whether it has not been reported yet.
    refund_refused: Option<(RefundRefusal, bool)>,
}

/// Whether an attempt is asked about.
const fn matters(state: AttemptState, why: Why) -> bool {
    match state {
        // A closed number, too: slow money may arrive on it, or it was closed here because WeChat did not know it yet.
        AttemptState::Created | AttemptState::Unknown | AttemptState::Payable | AttemptState::Closed => true,
        // A paid order is polled while something of it is open, or because WeChat reported refunds.
        AttemptState::Paid => true,
        // WeChat took nothing on for it, but the number may be another system's, which was paid: what a caller or a
        // bill asks about is asked at WeChat.
        AttemptState::Failed => why.refresh,
    }
}

/// Asks about every attempt that matters, closes what should take no money any more, places what is to be placed, and
/// says when to poll again.
pub(in crate::worker) async fn process(ctx: &Context, merchant: &Merchant, stored: StoredOrder, why: Why) -> Verdict {
    let stored = match corrected(ctx, merchant, stored).await {
        Ok(stored) => stored,
        Err(e) => return failed(e),
    };
    // A number of which no call was executed needs no question: it is called for again.
    let refused = Target::current(&stored, ctx.clock.now()).filter(Target::is_unused).map(Target::into_number);
    let asked = |number: &OutTradeNo| refused.as_ref() != Some(number);
    let attempts = stored.order.attempts.iter().filter(|a| matters(a.state, why)).map(|a| a.out_trade_no.clone());
    let numbers: Vec<OutTradeNo> = attempts.filter(asked).collect();
    let version = stored.order.version;
    let mut polling = Polling {
        ctx,
        merchant,
        due: stored.order.queries.next_at,
        stored,
        resubmit: refused.is_some(),
        opened: false,
        answered: false,
        unanswered: false,
        refused: None,
        listed: Vec::new(),
        unlearnt: false,
        refund_refused: None,
    };
    for number in numbers {
        if !(why.refresh && polling.is_settled(&number))
            && let Err(trouble) = polling.attempt(&number).await
        {
            return failed(trouble);
        }
    }
    if why.refresh
        && let Err(trouble) = polling.refunds().await
    {
        return failed(trouble);
    }
    // The process that noted it may have crashed before its dead letter was stored.
    let refund_refused = polling.refund_refused.filter(|(_, first)| *first || why.again).map(|(refusal, _)| refusal);
    let scheduled = if polling.unlearnt {
        polling.ask_for_refunds(why.refresh).await
    } else {
        polling.schedule(version, why.refresh).await
    };
    if let Some(verdict) = scheduled {
        return verdict;
    }
    let Polling { stored, resubmit, opened, refused, unanswered, .. } = polling;
    if let Some(refusal) = refund_refused {
        let also = refused.map(|(order, _)| format!("; {order}")).unwrap_or_default();
        return Verdict::Park { reason: refusal.reason(), why: format!("{refusal}{also}") };
    }
    if let Some((refusal, first)) = refused {
        // The process that set the mark may have crashed before its dead letter was stored: the same question parks
        // once more, and a dead letter that is there already stays one.
        return answer::refused(&refusal, first || why.again);
    }
    match Target::current(&stored, ctx.clock.now()).filter(|_| resubmit || opened) {
        Some(target) if opened => place(ctx, target, false).await,
        Some(target) => place_again(ctx, &stored, target).await,
        None if unanswered => without_answer(ctx),
        None => Verdict::Done,
    }
}

/// The order's next poll asks again. One that is replayed has settled nothing.
fn without_answer(ctx: &Context) -> Verdict {
    match ctx.replay {
        Some(_) => Verdict::Retry { after: UNANSWERED, why: "WeChat does not answer".into() },
        None => Verdict::Done,
    }
}

impl Polling<'_> {
    /// Whether the attempt paid its order: only the refunds of that can be new.
    fn is_settled(&self, number: &OutTradeNo) -> bool {
        let order = &self.stored.order;
        order.state == OrderState::Paid && order.attempt(number).is_some_and(|a| a.state == AttemptState::Paid)
    }

    /// Asks about one attempt, and closes it where it should be and can be. An error is the database's.
    async fn attempt(&mut self, number: &OutTradeNo) -> Result<(), HandlerError> {
        let Some(unpaid) = self.ask(number).await? else { return Ok(()) };
        if !unpaid || !self.may_close(number) {
            return Ok(());
        }
        let Some(attempt) = self.stored.order.attempt(number) else { return Ok(()) };
        crate::failpoint::point("worker.close_begun");
        let closed = by_app::close(self.ctx, self.merchant, &self.stored, attempt).await;
        crate::failpoint::point("worker.close_answered");
        match closed {
            Closed::Done => self.apply(number, Fact::Closed, EvidenceSource::Close).await,
            // The payer was faster.
            Closed::AlreadyPaid => self.ask(number).await.map(|_| ()),
            Closed::NotFound => self.apply(number, Fact::NotFound, EvidenceSource::Close).await,
            Closed::Refused(_) => {
                self.unanswered = true;
                Ok(())
            }
            Closed::Unknown { why, .. } => {
                tracing::info!(order.out_trade_no = %number, why, "the close has no conclusive answer");
                self.unanswered = true;
                Ok(())
            }
        }
    }

    /// Asks WeChat and takes its answer to the order. Tells whether WeChat just called the attempt unpaid; nothing
    /// where there was no answer.
    async fn ask(&mut self, number: &OutTradeNo) -> Result<Option<bool>, HandlerError> {
        let Some(attempt) = self.stored.order.attempt(number) else { return Ok(None) };
        crate::failpoint::point("worker.query_begun");
        let (asked, of_configured) = by_app::ask(self.ctx, self.merchant, &self.stored, attempt).await;
        crate::failpoint::point("worker.query_answered");
        let (fact, raw) = match asked {
            Asked::Fact(fact, raw) => (fact, raw),
            Asked::Refused(_) => {
                self.unanswered = true;
                return Ok(None);
            }
            Asked::Unknown { why, .. } => {
                tracing::info!(order.out_trade_no = %number, why, "the query has no conclusive answer");
                self.unanswered = true;
                return Ok(None);
            }
        };
        self.answered = true;
        let unpaid = matches!(fact, Fact::Unpaid { .. });
        let unknown_to_configured = of_configured && fact == Fact::NotFound;
        let refunded = match &fact {
            Fact::Refunded(payment) => Some(payment.transaction_id.clone()),
            _ => None,
        };
        self.apply(number, fact, source(self.merchant, &raw)).await?;
        if unknown_to_configured {
            moved(self.ctx, self.merchant, &mut self.stored, number).await?;
        }
        if let Some(transaction_id) = refunded.filter(|id| self.stored.order.payment(id).is_some()) {
            let listed = self.learn(number, &transaction_id).await?;
            self.unlearnt |= !listed.complete || !listed.any;
        }
        Ok(Some(unpaid))
    }

    /// Asks for the refunds of every payment of the order, also of those that do not count.
    async fn refunds(&mut self) -> Result<(), HandlerError> {
        let payments: Vec<(OutTradeNo, TransactionId)> =
            self.stored.order.payments.iter().map(|p| (p.out_trade_no.clone(), p.transaction_id.clone())).collect();
        for (number, transaction_id) in payments {
            if self.listed.contains(&transaction_id) {
                continue;
            }
            let listed = self.learn(&number, &transaction_id).await?;
            self.answered |= listed.answered;
            self.unanswered |= !listed.answered;
            self.unlearnt |= listed.any && !listed.complete;
        }
        Ok(())
    }

    /// Learns the refunds of one payment.
    async fn learn(&mut self, number: &OutTradeNo, transaction_id: &TransactionId) -> Result<Listed, HandlerError> {
        self.listed.push(transaction_id.clone());
        let listed = learn_all(self.ctx, self.merchant, &self.stored, number, transaction_id).await?;
        // What has not been reported yet goes first.
        let first_seen = self.refund_refused.filter(|(_, first)| *first);
        self.refund_refused = first_seen.or(listed.refused).or(self.refund_refused);
        Ok(listed)
    }

    async fn apply(&mut self, number: &OutTradeNo, fact: Fact, source: EvidenceSource) -> Result<(), HandlerError> {
        let merchant = self.merchant.key.clone();
        let item = Item::new(&self.ctx.config, merchant, number.clone(), fact, source, self.ctx.clock.now());
        match self.ctx.apply(item).await {
            Ok(Applied::Changed(after)) => {
                self.opened |= after.order.attempts.len() > self.stored.order.attempts.len();
                // Pauses count from the change before this poll.
                let updated_at = self.stored.updated_at;
                self.stored = StoredOrder { updated_at, ..*after };
                self.due = self.stored.order.queries.next_at;
            }
            Ok(Applied::AskAgain { order, resubmit, .. }) => {
                self.stored = *order;
                let current = self.stored.order.current().is_some_and(|a| a.out_trade_no == *number);
                self.resubmit |= resubmit && current;
            }
            Ok(Applied::Settled | Applied::Already | Applied::UnknownOrder) => {}
            Ok(Applied::Refused { refusal, first }) => {
                self.refused.get_or_insert((refusal, first));
            }
            Err(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// Whether WeChat should take no money for it any more, and lets it be closed.
    fn may_close(&self, number: &OutTradeNo) -> bool {
        let (order, now) = (&self.stored.order, self.ctx.clock.now());
        order.attempt(number).is_some_and(|a| {
            let unwanted = a.state == AttemptState::Closed || a.state.is_live() && order.wants_close(now);
            unwanted && now >= a.created_at.after(CLOSABLE_AFTER)
        })
    }

    /// The order keeps its question until its refunds are known, whatever else there is to ask: soon, then ever more
    /// rarely.
    async fn ask_for_refunds(&self, refresh: bool) -> Option<Verdict> {
        let (order, now) = (&self.stored.order, self.ctx.clock.now());
        // As long as it has waited already. The polls that follow an order's end are counted and not used up by these.
        let pause = now.since(self.stored.updated_at).clamp(STALE, HOURLY);
        // A caller who asks puts no planned poll off.
        let planned = order.queries.next_at.filter(|planned| refresh && *planned > now);
        let next_at = planned.map_or(now.after(pause), |planned| planned.min(now.after(pause)));
        let queries = Queries { next_at: Some(next_at), answered_at: None, ..order.queries };
        match self.ctx.store.schedule_query(order.id, order.version, self.due, queries).await {
            Ok(()) => self.note_answer().await,
            Err(e) => Some(failed(e)),
        }
    }

    /// Sets when the order is polled next, unless what changed it since `version` said so, or a poll was requested out
    /// of schedule. A verdict means that the database did not take it.
    async fn schedule(&self, version: i64, refresh: bool) -> Option<Verdict> {
        let (order, now) = (&self.stored.order, self.ctx.clock.now());
        let unchanged = order.version == version;
        let answered_at = self.answered.then_some(now);
        // Two polls follow the end of an order: only those with an answer count.
        let counts = order.state.is_open() || !self.unanswered;
        let done = match order.queries.next_at {
            _ if unchanged && refresh => return self.note_answer().await,
            _ if unchanged => order.queries.done + u32::from(counts),
            // It asked for a poll, which was done just now.
            Some(at) if at <= now => order.queries.done,
            // The caller waits for the answer, and the change may come before all of it was learnt.
            Some(_) | None if refresh => return self.note_answer().await,
            Some(_) | None => return None,
        };
        let mut next_at = next_poll(order, done, now);
        if self.unanswered {
            // The rhythm goes on, but an hour without answers must not put the next question off to the one after.
            let soon = next_unanswered(order, now);
            // What WeChat posted and does not fit is asked about until there is an answer, whatever the order's state.
            next_at = next_at.or(Some(soon).filter(|_| order.has_misfit())).map(|at| at.min(soon));
        }
        let queries = Queries { done, next_at, answered_at };
        self.ctx.store.schedule_query(order.id, order.version, self.due, queries).await.err().map(failed)
    }
    /// Notes that WeChat answered, if it did.
    async fn note_answer(&self) -> Option<Verdict> {
        if !self.answered {
            return None;
        }
        self.ctx.store.query_answered(self.stored.order.id, self.ctx.clock.now()).await.err().map(failed)
    }
}
