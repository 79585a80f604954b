//! A refund that WeChat's platform made of a payment of no order, entered on WeChat's word. Its polls follow it to its
//! end, as they do any other.

use super::mended::Mended;
use super::repair::Repair;
use crate::config::Merchant;
use crate::event::fact::{RefundFact, RefundSeen, RefundStanding};
use crate::ids::{OutRefundNo, TransactionId};
use crate::money::Fen;
use crate::new_refund::{RefundSpec, new_refund};
use crate::refund::RefundOrigin;
use crate::store::{AuditEntry, DbError, Line, NewRefund, PaidAttempt, RefundEvidence, RefundSource, Reserved};
use crate::wechat::v2::refund_query::{Refund, RefundStatus, Refunds, RefundsAsked, Which, ask};
use crate::wechat::v2::reply::RawReply;

/// Asks WeChat about the refund and records what it confirms, with this row of the audit.
pub(super) async fn enter_refund(
    on: Repair<'_>,
    merchant: &Merchant,
    line: &Line,
    audit: AuditEntry,
) -> Result<Mended, DbError> {
    let refused = |why: &str| Ok(Mended::Refused(why.to_owned()));
    let numbers = TransactionId::parse(line.transaction_id.clone()).ok();
    let number = line.refund_no.clone().and_then(|number| OutRefundNo::parse(number).ok());
    let Some((transaction_id, number)) = numbers.zip(number) else {
        return refused("the bill's numbers are none of WeChat's");
    };
    let Some(paid) = on.store.paid_attempt(&merchant.key, &transaction_id).await? else {
        return refused("the payment is not in the books: repair it first");
    };
    let (found, raw) = match ask(on.wechat, merchant, &paid.appid, &Which::Refund(number.clone())).await {
        RefundsAsked::Found(found, raw) => (found, raw),
        RefundsAsked::NotFound => return refused("WeChat knows no such refund"),
        RefundsAsked::Refused(error) => return refused(&format!("WeChat refuses the query: {}", error.message)),
        RefundsAsked::Unknown { why, .. } => return Ok(Mended::Waiting(why)),
    };
    let refund = found.refunds.iter().find(|refund| refund.out_refund_no == number);
    let Some(refund) = refund.filter(|refund| is_same(&found, refund, &paid, line)) else {
        return refused("WeChat holds another refund under this number than its bill says");
    };
    if refund.status == RefundStatus::Closed {
        return refused("WeChat closed the refund without moving money");
    }
    record(on, merchant, &paid, (refund, raw), audit).await
}

fn is_same(found: &Refunds, refund: &Refund, paid: &PaidAttempt, line: &Line) -> bool {
    let total = found.total_fee.unwrap_or(paid.paid);
    found.transaction_id == paid.transaction_id
        && found.out_trade_no == paid.out_trade_no
        && total == paid.paid
        && refund.refund_fee > Fen::ZERO
        && refund.refund_fee <= total
        && Some(refund.refund_fee.as_i64()) == line.bill_fen
}

async fn record(
    on: Repair<'_>,
    merchant: &Merchant,
    paid: &PaidAttempt,
    (refund, raw): (&Refund, RawReply),
    audit: AuditEntry,
) -> Result<Mended, DbError> {
    let now = on.clock.now();
    let standing = match refund.status {
        RefundStatus::Processing | RefundStatus::Closed => RefundStanding::Processing,
        RefundStatus::Success => RefundStanding::Success { at: refund.success_time },
        RefundStatus::Abnormal => RefundStanding::Change,
    };
    let seen = RefundSeen {
        refund_id: refund.refund_id.clone(),
        transaction_id: paid.transaction_id.clone(),
        refund_fee: refund.refund_fee,
        status: standing,
    };
    let verified_by = format!("reply signed with key {}", merchant.v2_key.fingerprint());
    let source = RefundSource::Query { raw: Some(raw.as_str().to_owned()), verified_by };
    let evidence = RefundEvidence { fact: RefundFact::Status(seen), source, received_at: now };
    let spec = RefundSpec {
        merchant: merchant.key.clone(),
        order_id: None,
        order_no: None,
        appid: paid.appid.clone(),
        mch_id: paid.mch_id.clone(),
        out_trade_no: paid.out_trade_no.clone(),
        transaction_id: paid.transaction_id.clone(),
        refund_no: refund.out_refund_no.clone(),
        amount: refund.refund_fee,
        total: paid.paid,
        currency: paid.currency.clone(),
        origin: RefundOrigin::MerchantPlatform,
        reason: None,
        requested_by: "console".to_owned(),
        content_hash: String::new(),
        known: Some((refund.refund_id.clone(), evidence)),
    };
    let new = new_refund(on.config, spec, now).map_err(|e| DbError::Defect(e.to_string()))?;
    let new = NewRefund { audit: Some(audit), ..new };
    Ok(match on.store.record_refund(&new, now).await? {
        Reserved::New(_) => Mended::Asked { is_audited: true },
        Reserved::Known(_) => Mended::Asked { is_audited: false },
        Reserved::Accepted => Mended::Waiting("its order has appeared".to_owned()),
        Reserved::Exceeds { .. }
        | Reserved::TooMany
        | Reserved::KeyReused
        | Reserved::NeedsApproval
        | Reserved::NotWaiting
        | Reserved::Capped { .. } => {
            Mended::Waiting("other refunds hold what it took until they have ended".to_owned())
        }
    })
}
