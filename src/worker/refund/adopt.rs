//! Refunds that WeChat knows and we did not make: made in the merchant platform.
//!
//! They are adopted only on WeChat's answer to our own query, with their reservation and on the same path as
//! ours. What must stay true: a refund of an order we do not know paid, or of other amounts, is not adopted.

use super::apply::{Applied, ApplyError, PollTiming, apply};
use super::poll::{seen, source};
use crate::config::Merchant;
use crate::event::fact::{RefundFact, RefundStanding};
use crate::ids::{OutTradeNo, TransactionId};
use crate::new_refund::{RefundSpec, new_refund};
use crate::refund::{RefundEvent, RefundOrigin, RefundRefusal};
use crate::store::{DbError, NotificationRecord, RefundEvidence, Reserved, StoredOrder};
use crate::telemetry;
use crate::wechat::v2::refund_query::{Refund, Refunds, RefundsAsked, Which};
use crate::wechat::v2::reply::RawReply;
use crate::worker::core::context::Context;
use crate::worker::pay::calls;

/// What became of a refund that WeChat listed.
#[derive(Debug)]
pub enum Adopted {
    /// It is among ours, and says what WeChat says; or it moved nothing, and there is none to make.
    Known,
    /// WeChat says what cannot be.
    Refused {
        refusal: RefundRefusal,
        /// Whether it has not been reported yet.
        first: bool,
    },
    /// Refunds of ours hold what it took; theirs come to their end first.
    NoRoom,
}

/// Takes one listed refund to its own row, making one where there is none.
pub async fn adopt(
    ctx: &Context,
    merchant: &Merchant,
    order: &StoredOrder,
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
        let Some(spec) = spec(merchant, order, found, refund, evidence) else {
            return Ok(Adopted::Refused { refusal: RefundRefusal::Differs, first: true });
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
            Reserved::Exceeds { .. } | Reserved::TooMany | Reserved::KeyReused | Reserved::Accepted => {
                return Ok(Adopted::NoRoom);
            }
        }
    }
    let source = source(merchant, raw);
    Ok(match apply(ctx, &merchant.key, refund_no, fact, source, notification, PollTiming::Unscheduled).await? {
        Applied::Changed | Applied::Unchanged => Adopted::Known,
        Applied::Refused(refusal) => {
            let first = match row {
                Some(id) => ctx.store.note_contradiction(id, refusal.reason()).await?,
                None => true,
            };
            Adopted::Refused { refusal, first }
        }
    })
}

fn spec(
    merchant: &Merchant,
    order: &StoredOrder,
    found: &Refunds,
    refund: &Refund,
    evidence: RefundEvidence,
) -> Option<RefundSpec> {
    let attempt = order.order.attempt(&found.out_trade_no)?;
    let payment = order.order.payment(&found.transaction_id)?;
    let total = found.total_fee.unwrap_or(payment.amount);
    let ours = total == payment.amount;
    let fits = refund.refund_fee > crate::money::Fen::ZERO && refund.refund_fee <= total;
    (ours && fits).then(|| RefundSpec {
        merchant: merchant.key.clone(),
        order_id: order.order.id,
        order_no: order.order.order_no.clone(),
        appid: attempt.appid.clone(),
        mch_id: attempt.mch_id.clone(),
        out_trade_no: found.out_trade_no.clone(),
        transaction_id: found.transaction_id.clone(),
        refund_no: refund.out_refund_no.clone(),
        amount: refund.refund_fee,
        total,
        origin: RefundOrigin::Console,
        reason: None,
        requested_by: "console".to_owned(),
        content_hash: String::new(),
        known: Some((refund.refund_id.clone(), evidence)),
    })
}

/// The result of querying the refunds of a payment.
#[derive(Debug, Default)]
pub struct Listed {
    /// Whether all of them are known now; otherwise ask again.
    pub complete: bool,
    /// The first that contradicts its row, and whether it has not been reported yet.
    pub refused: Option<(RefundRefusal, bool)>,
}

/// Learns every refund of a payment that WeChat called refunded.
pub async fn learn_all(
    ctx: &Context,
    merchant: &Merchant,
    order: &StoredOrder,
    out_trade_no: &OutTradeNo,
    transaction_id: &TransactionId,
) -> Result<Listed, ApplyError> {
    let mut listed = Listed::default();
    let Some(appid) = order.order.attempt(out_trade_no).map(|a| a.appid.clone()) else { return Ok(listed) };
    let (mut offset, mut complete) = (0, true);
    loop {
        let which = Which::Payment(transaction_id.clone(), offset);
        let asked = calls::ask_refunds(ctx, merchant, &appid, &which).await;
        crate::failpoint::point("refund.listed");
        let (found, raw) = match asked {
            RefundsAsked::Found(found, raw) => (found, raw),
            // Behind the last one there is none.
            RefundsAsked::NotFound if offset > 0 => break,
            other => {
                let why = match other {
                    RefundsAsked::Refused(error) => format!("{}: {}", error.code, error.message),
                    RefundsAsked::Unknown { why, .. } => why,
                    RefundsAsked::Found(..) | RefundsAsked::NotFound => "WeChat lists none".to_owned(),
                };
                tracing::info!(%out_trade_no, why, "the refunds of a payment could not be listed");
                return Ok(listed);
            }
        };
        for refund in &found.refunds {
            match adopt(ctx, merchant, order, (&found, refund, &raw), None).await? {
                Adopted::Known => {}
                Adopted::NoRoom => complete = false,
                Adopted::Refused { refusal, first } => {
                    tracing::error!(refund_no = %refund.out_refund_no, %refusal, "a listed refund contradicts its row");
                    listed.refused = match listed.refused {
                        Some(first_seen @ (_, true)) => Some(first_seen),
                        Some(_) | None => Some((refusal, first)),
                    };
                }
            }
        }
        for (n, incomplete) in &found.unreadable {
            tracing::warn!(%out_trade_no, record = offset + n, why = %incomplete, "a listed refund cannot be read");
            complete = false;
        }
        match found.next_page(offset) {
            Some(next) => offset = next,
            None => break,
        }
    }
    listed.complete = complete;
    Ok(listed)
}
