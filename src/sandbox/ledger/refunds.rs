//! What WeChat knows of refunds and when it takes one on: the ledger's side, without wire, time or threads.
//!
//! A refund belongs to a paid order and is kept in it; the indexes here only find it again. `Accepted` is not refunded:
//! a refund is on its way until [`Book::end_refund`].
//!
//! What must stay true: the refunds of an order that are not closed never exceed what was paid; one `out_refund_no`
//! moves money once; a merchant's account, where it has a limit, never falls below nothing by a refund that was taken
//! on.

use super::account::Book;
use super::order::Order;
use super::record::{CouponType, Payment, Record, Refund, RefundSource, RefundStatus};
use super::refund_index::{MerchantSettings, number};
use crate::clock::Timestamp;
use crate::ids::{AppId, MchId};
use crate::money::Fen;
use crate::sandbox::ids;

/// The most refunds of one order.
const MOST: usize = 50;

/// Why WeChat does not take a refund on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum RefundRefused {
    /// No such `out_trade_no` of this app, or it is unpaid.
    OrderNotFound,
    /// No such `transaction_id` of this app.
    UnknownTransaction,
    /// The number is known with other amounts.
    AmountsDiffer,
    /// The number is known with other parameters.
    ParametersDiffer,
    /// `total_fee` is not the order's.
    TotalDiffers,
    /// More than is left to refund.
    Exceeds,
    /// Nothing is left to refund.
    AllRefunded,
    /// [`MOST`] there are.
    TooMany,
    /// Less than a minute after the order's last one.
    TooSoon,
    /// The payment is more than a year old.
    Overdue,
    /// The merchant's account does not hold it.
    NotEnough,
    /// The journal cannot be written.
    System,
}

/// Which payment a refund is of.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) enum Of<'a> {
    TransactionId(&'a str),
    OutTradeNo(&'a str),
}

/// A refund as it is asked for.
#[derive(Debug)]
pub(in crate::sandbox) struct Ask<'a> {
    pub mch_id: &'a MchId,
    /// None in the merchant platform, which sees every app.
    pub appid: Option<&'a AppId>,
    pub of: Of<'a>,
    /// None in the merchant platform: WeChat makes one.
    pub out_refund_no: Option<&'a str>,
    /// None in the merchant platform, which shows it.
    pub total_fee: Option<Fen>,
    pub refund_fee: Fen,
    pub refund_desc: &'a str,
    pub refund_account: &'a str,
    pub notify_url: Option<&'a str>,
    /// The merchant is not notified, whatever addresses there are.
    pub is_silent: bool,
    pub parameters_sha256: &'a str,
}

/// A refund that WeChat has taken on.
#[derive(Debug)]
pub(in crate::sandbox) struct Taken {
    pub refund: Refund,
    pub payment: Payment,
    /// Whether this call did it, and not an earlier one with the same number.
    pub is_new: bool,
}

impl Book {
    /// The refund under a merchant's number, with its order.
    pub fn refund_by_number(&self, mch_id: &str, out_refund_no: &str) -> Option<(&Order, &Refund)> {
        self.refund_at(*self.refunds.by_number.get(&number(mch_id, out_refund_no))?)
    }

    /// The refund under WeChat's number, if it is this merchant's, with its order.
    pub fn refund_by_id(&self, mch_id: &str, refund_id: &str) -> Option<(&Order, &Refund)> {
        let found = self.refund_at(*self.refunds.by_id.get(refund_id)?)?;
        (found.1.mch_id.as_str() == mch_id).then_some(found)
    }

    /// Whether the merchant has an address for refunds that name none.
    pub fn tells_of_refunds(&self, mch_id: &str) -> bool {
        self.refunds.merchant(mch_id).refund_notify_url.is_some()
    }

    fn refund_at(&self, (order, refund): (usize, usize)) -> Option<(&Order, &Refund)> {
        let order = self.orders.get(order)?;
        Some((order, order.refunds.get(refund)?))
    }

    /// Takes a refund on, or finds the one that was taken on with the same number and parameters.
    pub fn refund(&mut self, ask: &Ask<'_>, now: Timestamp) -> Result<Taken, RefundRefused> {
        if let Some(taken) = self.known(ask)? {
            return Ok(taken);
        }
        let (order, payment) = self.payment(ask)?;
        if ask.total_fee.is_some_and(|fee| fee != payment.total_fee) {
            return Err(RefundRefused::TotalDiffers);
        }
        if now > payment.paid_at.after(self.lifetimes.refundable) {
            return Err(RefundRefused::Overdue);
        }
        if order.refunds.len() >= MOST {
            return Err(RefundRefused::TooMany);
        }
        let live: i64 = order.live_refunds().map(|refund| refund.refund_fee.as_i64()).sum();
        let exceeds =
            if live == payment.total_fee.as_i64() { RefundRefused::AllRefunded } else { RefundRefused::Exceeds };
        let split = Split::of(order, payment, ask.refund_fee).ok_or(exceeds)?;
        // A person in the merchant platform is slower than that anyway.
        let last = order.refunds.last().filter(|_| ask.out_refund_no.is_some());
        if last.is_some_and(|last| now < last.accepted_at.after(self.lifetimes.between_refunds)) {
            return Err(RefundRefused::TooSoon);
        }
        let settings = self.refunds.merchant(ask.mch_id.as_str());
        if settings.balance.is_some_and(|balance| split.settlement > balance) {
            return Err(RefundRefused::NotEnough);
        }
        let refund = self.accepted(ask, payment, split, settings, now);
        let payment = payment.clone();
        self.commit(Record::RefundAccepted(Box::new(refund.clone()))).map_err(|_| RefundRefused::System)?;
        Ok(Taken { refund, payment, is_new: true })
    }

    fn known(&self, ask: &Ask<'_>) -> Result<Option<Taken>, RefundRefused> {
        let Some(out_refund_no) = ask.out_refund_no else { return Ok(None) };
        let Some((order, refund)) = self.refund_by_number(ask.mch_id.as_str(), out_refund_no) else { return Ok(None) };
        let amounts = (Some(refund.total_fee), refund.refund_fee);
        if amounts != (ask.total_fee, ask.refund_fee) {
            return Err(RefundRefused::AmountsDiffer);
        }
        if refund.parameters_sha256 != ask.parameters_sha256 {
            return Err(RefundRefused::ParametersDiffer);
        }
        let payment = order.payment.clone().ok_or(RefundRefused::OrderNotFound)?;
        Ok(Some(Taken { refund: refund.clone(), payment, is_new: false }))
    }

    fn payment(&self, ask: &Ask<'_>) -> Result<(&Order, &Payment), RefundRefused> {
        let mch_id = ask.mch_id.as_str();
        let (order, otherwise) = match ask.of {
            Of::TransactionId(id) => (self.order_by_transaction(mch_id, id), RefundRefused::UnknownTransaction),
            Of::OutTradeNo(own) => (self.order(mch_id, own), RefundRefused::OrderNotFound),
        };
        // Another app of the same merchant does not see it.
        let order = order.filter(|o| ask.appid.is_none_or(|appid| o.terms.appid == *appid)).ok_or(otherwise)?;
        Ok((order, order.payment.as_ref().ok_or(otherwise)?))
    }

    fn accepted(
        &self,
        ask: &Ask<'_>,
        payment: &Payment,
        split: Split,
        settings: MerchantSettings,
        now: Timestamp,
    ) -> Refund {
        let serial = self.refunds.accepted;
        let out_refund_no = match ask.out_refund_no {
            Some(own) => own.to_owned(),
            None => ids::console_refund_no(self.seed, serial, now),
        };
        let plan = [out_refund_no.as_str(), payment.out_trade_no.as_str()]
            .iter()
            .find_map(|own| self.refunds.plans.get(&number(ask.mch_id.as_str(), own)));
        Refund {
            mch_id: ask.mch_id.clone(),
            appid: payment.appid.clone(),
            out_trade_no: payment.out_trade_no.clone(),
            transaction_id: payment.transaction_id.clone(),
            refund_id: ids::refund_id(self.seed, serial, now),
            total_fee: payment.total_fee,
            refund_fee: ask.refund_fee,
            coupon_refund_fee: split.coupon,
            settlement_refund_fee: split.settlement,
            refund_desc: ask.refund_desc.to_owned(),
            refund_account: ask.refund_account.to_owned(),
            source: if ask.out_refund_no.is_some() { RefundSource::Api } else { RefundSource::VendorPlatform },
            notify_url: ask.notify_url.map(str::to_owned).or(settings.refund_notify_url).filter(|_| !ask.is_silent),
            parameters_sha256: ask.parameters_sha256.to_owned(),
            accepted_at: now,
            ends_as: plan.copied().unwrap_or(RefundStatus::Success),
            status: RefundStatus::Processing,
            ended_at: None,
            out_refund_no,
        }
    }

    /// Brings a refund to an end, or one the payer's account could not take to success after all. Nothing when its
    /// state does not allow it.
    pub fn end_refund(
        &mut self,
        mch_id: &MchId,
        out_refund_no: &str,
        status: RefundStatus,
        now: Timestamp,
    ) -> Result<Option<Refund>, RefundRefused> {
        let found = self.refund_by_number(mch_id.as_str(), out_refund_no);
        let allowed = found.is_some_and(|(_, refund)| match (refund.status, status) {
            (RefundStatus::Processing, RefundStatus::Success | RefundStatus::Change | RefundStatus::RefundClose)
            | (RefundStatus::Change, RefundStatus::Success) => true,
            (_, RefundStatus::Processing)
            | (RefundStatus::Change, RefundStatus::Change | RefundStatus::RefundClose)
            | (RefundStatus::Success | RefundStatus::RefundClose, _) => false,
        });
        if !allowed {
            return Ok(None);
        }
        let record =
            Record::RefundEnded { at: now, mch_id: mch_id.clone(), out_refund_no: out_refund_no.to_owned(), status };
        self.commit(record).map_err(|_| RefundRefused::System)?;
        Ok(self.refund_by_number(mch_id.as_str(), out_refund_no).map(|(_, refund)| refund.clone()))
    }

    /// A refund was accepted: see [`Record`].
    pub(in crate::sandbox) fn apply_refund(&mut self, refund: Refund) {
        let Some(place) = self.index(&refund.mch_id, &refund.out_trade_no) else { return };
        let Some(order) = self.orders.get_mut(place) else { return };
        let places = (place, order.refunds.len());
        self.refunds.by_number.insert(number(refund.mch_id.as_str(), &refund.out_refund_no), places);
        self.refunds.by_id.insert(refund.refund_id.clone(), places);
        self.refunds.accepted += 1;
        self.refunds.move_balance(&refund.mch_id, refund.settlement_refund_fee.as_i64().saturating_neg());
        order.refunds.push(refund);
    }

    /// A refund ended: see [`Record`].
    pub(in crate::sandbox) fn apply_refund_end(
        &mut self,
        mch_id: &MchId,
        own: &str,
        status: RefundStatus,
        at: Timestamp,
    ) {
        let Some(places) = self.refunds.by_number.get(&number(mch_id.as_str(), own)).copied() else { return };
        let order = self.orders.get_mut(places.0);
        let Some(refund) = order.and_then(|order| order.refunds.get_mut(places.1)) else { return };
        let fee = refund.settlement_refund_fee.as_i64();
        let back = match (refund.status, status) {
            (RefundStatus::Processing, RefundStatus::Change | RefundStatus::RefundClose) => fee,
            (RefundStatus::Change, RefundStatus::Success) => fee.saturating_neg(),
            (_, RefundStatus::Processing | RefundStatus::Success)
            | (RefundStatus::Success | RefundStatus::Change | RefundStatus::RefundClose, _) => 0,
        };
        refund.status = status;
        refund.ended_at = Some(at);
        self.refunds.move_balance(mch_id, back);
    }
}

/// How a refund falls on cash and coupon.
#[derive(Debug, Clone, Copy)]
struct Split {
    coupon: Fen,
    settlement: Fen,
}

impl Split {
    /// In the proportion of the payment, so that the last part brings what is left of each. Nothing when it is more
    /// than is left in all.
    fn of(order: &Order, payment: &Payment, refund_fee: Fen) -> Option<Split> {
        let (mut refunded, mut coupon_refunded) = (0_i64, 0_i64);
        for refund in order.live_refunds() {
            refunded = refunded.checked_add(refund.refund_fee.as_i64())?;
            coupon_refunded = coupon_refunded.checked_add(refund.coupon_refund_fee.as_i64())?;
        }
        let (total, coupon, fee) = (payment.total_fee.as_i64(), payment.coupon_fee.as_i64(), refund_fee.as_i64());
        let sum = refunded.checked_add(fee).filter(|sum| *sum <= total)?;
        let due = i128::from(coupon) * i128::from(sum) / i128::from(total.max(1));
        let cash_left = (total - coupon) - (refunded - coupon_refunded);
        let least = (fee - cash_left).max(0);
        let most = fee.min(coupon - coupon_refunded).max(least);
        let part = i64::try_from(due).ok()?.saturating_sub(coupon_refunded).clamp(least, most);
        let settled = match payment.coupon_type {
            Some(CouponType::NoCash) => fee - part,
            Some(CouponType::Cash) | None => fee,
        };
        Some(Split { coupon: Fen::from_i64(part), settlement: Fen::from_i64(settled) })
    }
}
