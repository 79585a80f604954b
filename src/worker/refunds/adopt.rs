//! Refunds that WeChat knows and we did not make: somebody's in the merchant platform.
//!
//! They are adopted only on WeChat's own word, asked for by ourselves, with their reservation and on the same path as ours.
//! What must stay true: a refund of an order we do not know paid, or of other amounts, is not adopted.

use super::apply::{Applied, ApplyError, apply};
use super::ask::{seen, source};
use crate::config::Merchant;
use crate::event::fact::RefundFact;
use crate::ids::{OutTradeNo, TransactionId};
use crate::new_refund::{Wish, new_refund};
use crate::order::{RefundNews, RefundOrigin, RefundRefusal};
use crate::store::{DbError, NotificationRecord, RefundEvidence, Reserved, StoredOrder};
use crate::telemetry;
use crate::wechat::v2::refund_query::{self, Refund, Refunds, RefundsAsked, Which};
use crate::wechat::v2::reply::RawReply;
use crate::worker::Context;

/// What became of a refund that WeChat listed.
#[derive(Debug)]
pub enum Adopted {
    /// It is among ours, and says what WeChat says.
    Known,
    /// WeChat says what cannot be.
    Refused(RefundRefusal),
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
    if ctx.store.refund(&merchant.key, refund_no).await?.is_none() {
        let evidence =
            RefundEvidence { fact: fact.clone(), source: source(merchant, raw), received_at: ctx.clock.now() };
        let Some(wish) = wish(merchant, order, found, refund, evidence) else {
            return Ok(Adopted::Refused(RefundRefusal::Differs));
        };
        let now = ctx.clock.now();
        let new = new_refund(&ctx.config, wish, now).map_err(|e| ApplyError::Store(DbError::Defect(e.to_string())))?;
        match ctx.store.record_refund(&new, now).await? {
            Reserved::New(_) => {
                let outcome = RefundNews::Requested.as_str();
                metrics::counter!(telemetry::REFUNDS_TOTAL, "merchant" => merchant.key.to_string(), "outcome" => outcome)
                    .increment(1);
                crate::crash::point("refund.adopted");
            }
            Reserved::Known(_) => {}
            Reserved::Exceeds { .. } | Reserved::TooMany => return Ok(Adopted::NoRoom),
        }
    }
    Ok(match apply(ctx, &merchant.key, refund_no, fact, source(merchant, raw), notification).await? {
        Applied::Changed | Applied::Unchanged => Adopted::Known,
        Applied::Refused(refusal) => Adopted::Refused(refusal),
    })
}

fn wish(
    merchant: &Merchant,
    order: &StoredOrder,
    found: &Refunds,
    refund: &Refund,
    evidence: RefundEvidence,
) -> Option<Wish> {
    let attempt = order.order.attempt(&found.out_trade_no)?;
    let ours = order.order.transactions.contains(&found.transaction_id) && found.total_fee == order.order.amount;
    let fits = refund.refund_fee > crate::money::Fen::ZERO && refund.refund_fee <= found.total_fee;
    (ours && fits).then(|| Wish {
        merchant: merchant.key.clone(),
        order_id: order.order.id,
        order_no: order.order.order_no.clone(),
        appid: attempt.appid.clone(),
        mch_id: attempt.mch_id.clone(),
        out_trade_no: found.out_trade_no.clone(),
        transaction_id: found.transaction_id.clone(),
        refund_no: refund.out_refund_no.clone(),
        amount: refund.refund_fee,
        total: found.total_fee,
        origin: RefundOrigin::Console,
        reason: None,
        requested_by: "console".to_owned(),
        content_hash: String::new(),
        known: Some((refund.refund_id.clone(), evidence)),
    })
}

/// Learns every refund of a payment that WeChat called refunded. `false`: not everything could be learnt; ask again.
pub async fn learn_all(
    ctx: &Context,
    merchant: &Merchant,
    order: &StoredOrder,
    out_trade_no: &OutTradeNo,
    transaction_id: &TransactionId,
) -> Result<bool, ApplyError> {
    let Some(appid) = order.order.attempt(out_trade_no).map(|a| a.appid.clone()) else { return Ok(false) };
    let (mut offset, mut complete) = (0, true);
    loop {
        let which = Which::Payment(transaction_id.clone(), offset);
        let asked = refund_query::ask(&ctx.wechat, merchant, &appid, &which).await;
        crate::crash::point("refund.listed");
        let (found, raw) = match asked {
            RefundsAsked::Found(found, raw) => (found, raw),
            RefundsAsked::NotFound | RefundsAsked::Refused(_) | RefundsAsked::Unknown { .. } => {
                tracing::info!(%out_trade_no, "the refunds of a payment could not be listed");
                return Ok(false);
            }
        };
        for refund in &found.refunds {
            match adopt(ctx, merchant, order, (&found, refund, &raw), None).await? {
                Adopted::Known => {}
                Adopted::NoRoom => complete = false,
                Adopted::Refused(refusal) => {
                    tracing::error!(refund_no = %refund.out_refund_no, %refusal, "a listed refund contradicts its row");
                }
            }
        }
        offset += u32::try_from(found.refunds.len()).unwrap_or(u32::MAX);
        if found.refunds.is_empty() || found.total_refund_count.is_none_or(|all| offset >= all) {
            return Ok(complete);
        }
    }
}
