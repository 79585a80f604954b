//! Refunds that WeChat knows and we did not make: made in the merchant platform, or by another system of the merchant.
//!
//! They are adopted only on WeChat's answer to our own query, with their reservation and on the same path as
//! ours. What must stay true: a refund of a payment that we do not know, or of other amounts, is not adopted. Where an
//! order appears meanwhile for a payment of none, nothing is adopted for the payment alone: the order learns it.

use super::apply::{Applied, ApplyError, PollTiming, apply};
use super::list::{AGAIN, Listing, list};
use super::poll::{self, seen, source};
use crate::config::Merchant;
use crate::event::fact::{RefundFact, RefundStanding};
use crate::ids::{AppId, MchId, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::new_refund::{RefundSpec, new_refund};
use crate::refund::{RefundEvent, RefundOrigin, RefundRefusal};
use crate::store::{DbError, NotificationRecord, PaidAttempt, RefundEvidence, Reserved, StoredOrder};
use crate::telemetry;
use crate::wechat::v2::refund_query::{Refund, Refunds};
use crate::wechat::v2::reply::RawReply;
use crate::worker::core::context::Context;

/// What became of a refund that WeChat listed.
#[derive(Debug)]
pub enum Adopted {
    /// It is among ours, and says what WeChat says; or it moved nothing, and there is none to make.
    Known,
    /// WeChat says what cannot be.
    Refused {
        refusal: RefundRefusal,
        /// The row that it contradicts.
        row: Option<i64>,
    },
    /// It contradicts its row, unless the list is older than the refund's end; WeChat did not say it again.
    Unconfirmed,
    /// Refunds of ours hold what it took; theirs come to their end first.
    NoRoom,
}

/// Whose a payment is.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'a> {
    Order(&'a StoredOrder),
    /// It is of no order.
    NoOrder(&'a PaidAttempt),
}

impl Owner<'_> {
    /// Polls the order of the payment again soon; one of no order has no polls.
    async fn poll_soon(self, ctx: &Context) -> Result<(), DbError> {
        match self {
            Owner::Order(order) => ctx.store.poll_order_by(order.order.id, ctx.clock.now().after(AGAIN)).await,
            Owner::NoOrder(_) => Ok(()),
        }
    }
}

/// Takes one listed refund to its own row, making one where there is none.
pub async fn adopt(
    ctx: &Context,
    merchant: &Merchant,
    owner: Owner<'_>,
    (found, refund, raw): (&Refunds, &Refund, &RawReply),
    notification: Option<NotificationRecord>,
) -> Result<Adopted, ApplyError> {
    let refund_no = &refund.out_refund_no;
    let status = seen(found, refund);
    let fact = RefundFact::Status(status.clone());
    let mut row = ctx.store.refund(&merchant.key, refund_no).await?.map(|stored| stored.refund.id);
    if row.is_none() {
        if status.status == RefundStanding::Closed {
            return Ok(Adopted::Known);
        }
        let evidence =
            RefundEvidence { fact: fact.clone(), source: source(merchant, raw), received_at: ctx.clock.now() };
        let Some(spec) = spec(merchant, owner, found, refund, evidence) else {
            return Ok(Adopted::Refused { refusal: RefundRefusal::Differs, row: None });
        };
        let now = ctx.clock.now();
        let new = new_refund(&ctx.config, spec, now).map_err(|e| ApplyError::Store(DbError::Defect(e.to_string())))?;
        match ctx.store.record_refund(&new, now).await? {
            Reserved::New(stored) => {
                row = Some(stored.refund.id);
                let outcome = RefundEvent::Requested.as_str();
                let merchant = merchant.key.to_string();
                metrics::counter!(telemetry::REFUNDS_TOTAL, "merchant" => merchant, "outcome" => outcome).increment(1);
                crate::failpoint::point("refund.adopted");
            }
            Reserved::Known(stored) => row = Some(stored.refund.id),
            Reserved::Exceeds { .. }
            | Reserved::TooMany
            | Reserved::KeyReused
            | Reserved::Capped { .. }
            | Reserved::NeedsApproval
            | Reserved::NotWaiting
            | Reserved::Accepted => {
                return Ok(Adopted::NoRoom);
            }
        }
    }
    let (source, timing) = (source(merchant, raw), PollTiming::Unscheduled);
    let refusal = match apply(ctx, &merchant.key, refund_no, fact, source, notification.clone(), timing).await? {
        Applied::Changed | Applied::Unchanged => return Ok(Adopted::Known),
        Applied::Refused(refusal) => return Ok(Adopted::Refused { refusal, row }),
        Applied::Doubtful(refusal) => refusal,
    };
    let stored = ctx.store.refund(&merchant.key, refund_no).await?.ok_or(ApplyError::Gone)?;
    Ok(match poll::confirm(ctx, merchant, &stored, refusal, notification, timing).await? {
        poll::Learnt::Changed | poll::Learnt::Unchanged(_) => Adopted::Known,
        poll::Learnt::Refused(refusal) => Adopted::Refused { refusal, row },
        poll::Learnt::Unconfirmed(_) | poll::Learnt::NotFound | poll::Learnt::NoAnswer => Adopted::Unconfirmed,
    })
}

/// A payment in our words.
struct Paid<'a> {
    order: Option<&'a StoredOrder>,
    mch_id: &'a MchId,
    appid: &'a AppId,
    amount: Fen,
    currency: &'a str,
}

/// The payment that WeChat's answer is about, if it is the owner's.
fn paid<'a>(owner: Owner<'a>, found: &Refunds) -> Option<Paid<'a>> {
    match owner {
        Owner::Order(order) => {
            let attempt = order.order.attempt(&found.out_trade_no)?;
            let payment = order.order.payment(&found.transaction_id)?;
            let (mch_id, appid, currency) = (&attempt.mch_id, &attempt.appid, &*payment.currency);
            Some(Paid { order: Some(order), mch_id, appid, amount: payment.amount, currency })
        }
        Owner::NoOrder(payment) => {
            let same = (&payment.transaction_id, &payment.out_trade_no) == (&found.transaction_id, &found.out_trade_no);
            let (mch_id, appid, currency) = (&payment.mch_id, &payment.appid, &*payment.currency);
            same.then_some(Paid { order: None, mch_id, appid, amount: payment.paid, currency })
        }
    }
}

fn spec(
    merchant: &Merchant,
    owner: Owner<'_>,
    found: &Refunds,
    refund: &Refund,
    evidence: RefundEvidence,
) -> Option<RefundSpec> {
    let paid = paid(owner, found)?;
    let total = found.total_fee.unwrap_or(paid.amount);
    let ours = total == paid.amount;
    let fits = refund.refund_fee > Fen::ZERO && refund.refund_fee <= total;
    (ours && fits).then(|| RefundSpec {
        merchant: merchant.key.clone(),
        order_id: paid.order.map(|order| order.order.id),
        order_no: paid.order.map(|order| order.order.order_no.clone()),
        appid: paid.appid.clone(),
        mch_id: paid.mch_id.clone(),
        out_trade_no: found.out_trade_no.clone(),
        transaction_id: found.transaction_id.clone(),
        refund_no: refund.out_refund_no.clone(),
        amount: refund.refund_fee,
        total,
        currency: paid.currency.to_owned(),
        origin: RefundOrigin::MerchantPlatform,
        reason: None,
        requested_by: "console".to_owned(),
        content_hash: String::new(),
        known: Some((refund.refund_id.clone(), evidence)),
    })
}

/// What became of the refunds that WeChat listed.
#[derive(Debug)]
pub struct Learnt {
    /// Whether all of them are known now; otherwise ask again.
    pub complete: bool,
    /// Those that contradict their row, which is none where there is no row.
    pub refused: Vec<(RefundRefusal, Option<i64>)>,
}

/// Takes every listed refund to its own row.
pub async fn adopt_all(
    ctx: &Context,
    merchant: &Merchant,
    owner: Owner<'_>,
    listing: &Listing,
) -> Result<Learnt, ApplyError> {
    let mut learnt = Learnt { complete: listing.is_whole, refused: Vec::new() };
    for (found, raw) in &listing.pages {
        for refund in &found.refunds {
            match adopt(ctx, merchant, owner, (found, refund, raw), None).await? {
                Adopted::Known => {}
                Adopted::NoRoom | Adopted::Unconfirmed => learnt.complete = false,
                Adopted::Refused { refusal, row } => {
                    tracing::error!(refund_no = %refund.out_refund_no, %refusal, "a listed refund contradicts its row");
                    learnt.refused.push((refusal, row));
                }
            }
        }
    }
    Ok(learnt)
}

/// The result of querying the refunds of a payment.
#[derive(Debug, Default)]
pub struct Listed {
    /// Whether WeChat answered.
    pub answered: bool,
    /// Whether WeChat lists any.
    pub any: bool,
    /// Whether all of them are known now; otherwise ask again.
    pub complete: bool,
    /// The first that contradicts its row, and whether it has not been reported yet.
    pub refused: Option<(RefundRefusal, bool)>,
}

/// Learns every refund of a payment of the order. What contradicts its row is noted as reported: the caller reports it.
pub async fn learn_all(
    ctx: &Context,
    merchant: &Merchant,
    order: &StoredOrder,
    out_trade_no: &OutTradeNo,
    transaction_id: &TransactionId,
) -> Result<Listed, ApplyError> {
    let Some(appid) = order.order.attempt(out_trade_no).map(|a| a.appid.clone()) else { return Ok(Listed::default()) };
    let listing = list(ctx, merchant, &appid, transaction_id).await;
    let learnt = adopt_all(ctx, merchant, Owner::Order(order), &listing).await?;
    let mut refused: Option<(RefundRefusal, bool)> = None;
    for (refusal, row) in learnt.refused {
        let first = is_first(ctx, refusal, row).await?;
        // What has not been reported yet goes first.
        if refused.is_none_or(|(_, reported_now)| first && !reported_now) {
            refused = Some((refusal, first));
        }
    }
    let any = !listing.pages.is_empty();
    Ok(Listed { answered: listing.is_answered, any, complete: learnt.complete, refused })
}

/// Learns the other refunds of a payment of which WeChat knows one that was not made here. What cannot be learnt now,
/// or contradicts its row, is left to the order's next poll, which comes soon.
pub async fn learn_others(
    ctx: &Context,
    merchant: &Merchant,
    owner: Owner<'_>,
    (appid, transaction_id): (&AppId, &TransactionId),
) -> Result<(), ApplyError> {
    let listing = list(ctx, merchant, appid, transaction_id).await;
    // WeChat knows at least one: an answer without any is not the whole of it.
    learn_listed(ctx, merchant, owner, &listing).await.map(drop)
}

/// Takes every listed refund to its own row; whether that is all there is. What is left is the next poll's.
pub async fn learn_listed(
    ctx: &Context,
    merchant: &Merchant,
    owner: Owner<'_>,
    listing: &Listing,
) -> Result<(Learnt, bool), ApplyError> {
    let learnt = adopt_all(ctx, merchant, owner, listing).await?;
    let is_complete = learnt.complete && learnt.refused.is_empty() && !listing.pages.is_empty();
    if !is_complete {
        owner.poll_soon(ctx).await?;
    }
    Ok((learnt, is_complete))
}

/// Notes that WeChat contradicts a refund. `true`: this has not been reported yet.
pub async fn is_first(ctx: &Context, refusal: RefundRefusal, row: Option<i64>) -> Result<bool, ApplyError> {
    Ok(match row {
        Some(id) => ctx.store.note_contradiction(id, refusal.reason()).await?,
        None => true,
    })
}
