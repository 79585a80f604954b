//! What WeChat knows: every order, its sessions, its payment, its notifications. The truth in tests.
//!
//! It decides, records, then applies: [`Book::commit`] is the only way in, so a journal replays to the same state. It
//! holds no lock and knows no clock; callers give the moment and keep the lock short.
//!
//! What must stay true: an order has at most one payment; a paid order is never closed, a closed one never paid.

use std::collections::HashMap;
use std::path::Path;

use super::journal::Journal;
use super::order::{Lifetimes, Order, TradeState};
use super::record::{CouponType, Delivery, Payment, Prepay, Record, Terms};
use super::refund_index::{MerchantSettings, Refunds, number};
use crate::clock::Timestamp;
use crate::ids::{MchId, OpenId, OutTradeNo};
use crate::money::Fen;
use crate::sandbox::ids;
use crate::trade::TradeType;

/// Why WeChat's business layer refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Refused {
    /// The number carries other parameters.
    NumberReused,
    Paid,
    Closed,
    NotFound,
    /// `time_expire` is not in the future.
    ExpiresInThePast,
    /// The simulator itself failed (its journal cannot be written).
    System,
}

/// Why the payer cannot pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PayRefused {
    /// It was not placed.
    #[error("no such order, prepay_id or code_url")]
    NotFound,
    /// The order may still be open; its session is not.
    #[error("this prepay_id, code_url or mweb_url has expired: the merchant must place the same order again")]
    SessionExpired,
    /// No session of this order can be paid any more.
    #[error("the order is closed or past its time_expire")]
    Closed,
    /// One order is paid once.
    #[error("the order is already paid")]
    AlreadyPaid,
    /// A JSAPI order names its payer.
    #[error("the order belongs to another openid")]
    PayerDiffers,
    /// The coupon is worth more than the order, or less than nothing.
    #[error("coupon_fee must be between 0 and the order's total_fee")]
    Coupon,
    /// The payment did not happen.
    #[error("the journal cannot be written")]
    System,
}

/// What the payer holds.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) enum Handle<'a> {
    PrepayId(&'a str),
    CodeUrl(&'a str),
    Number { mch_id: &'a str, out_trade_no: &'a str },
}

/// What the payer brings.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct PayerFunds {
    pub openid: Option<OpenId>,
    pub coupon_fee: Fen,
    pub coupon_type: Option<CouponType>,
    /// The money was on its way before the number was closed or expired, and arrives all the same: a bank was slow.
    pub late: bool,
}

/// All orders with their indexes.
pub(in crate::sandbox) struct Book {
    pub(in crate::sandbox) seed: u64,
    pub(in crate::sandbox) lifetimes: Lifetimes,
    journal: Option<Journal>,
    pub(in crate::sandbox) orders: Vec<Order>,
    pub(in crate::sandbox) refunds: Refunds,
    by_number: HashMap<String, usize>,
    by_prepay: HashMap<String, usize>,
    by_code: HashMap<String, usize>,
    by_transaction: HashMap<String, usize>,
    /// Numbers issued so far; restored by the journal.
    sessions: u64,
    payments: u64,
}

impl Book {
    /// An empty book, or the one a journal tells.
    pub fn open(seed: u64, lifetimes: Lifetimes, journal: Option<&Path>) -> std::io::Result<Book> {
        let mut book = Book {
            seed,
            lifetimes,
            journal: None,
            orders: Vec::new(),
            refunds: Refunds::default(),
            by_number: HashMap::new(),
            by_prepay: HashMap::new(),
            by_code: HashMap::new(),
            by_transaction: HashMap::new(),
            sessions: 0,
            payments: 0,
        };
        if let Some(path) = journal {
            book.journal = Some(Journal::open(path, |record| book.apply(record))?);
        }
        Ok(book)
    }

    /// Every order, oldest first.
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// The order under a merchant's number.
    pub fn order(&self, mch_id: &str, out_trade_no: &str) -> Option<&Order> {
        self.by_number.get(&number(mch_id, out_trade_no)).and_then(|i| self.orders.get(*i))
    }

    /// The paid order under WeChat's number, if it is this merchant's.
    pub fn order_by_transaction(&self, mch_id: &str, transaction_id: &str) -> Option<&Order> {
        let order = self.by_transaction.get(transaction_id).and_then(|i| self.orders.get(*i))?;
        (order.terms.mch_id.as_str() == mch_id).then_some(order)
    }

    /// Places an order, or the same order once more.
    pub fn place(&mut self, terms: Terms, now: Timestamp) -> Result<Prepay, Refused> {
        let known = self.order(terms.mch_id.as_str(), terms.out_trade_no.as_str());
        if let Some(order) = known {
            match order.state(now) {
                TradeState::Success | TradeState::Refund => return Err(Refused::Paid),
                TradeState::Closed => return Err(Refused::Closed),
                TradeState::NotPay if order.terms.parameters_sha256 != terms.parameters_sha256 => {
                    return Err(Refused::NumberReused);
                }
                TradeState::NotPay => {}
            }
        } else if terms.time_expire.is_some_and(|at| at <= now) {
            return Err(Refused::ExpiresInThePast);
        }
        let is_new = known.is_none();
        let prepay = Prepay {
            prepay_id: ids::prepay_id(self.seed, self.sessions, now),
            code_url: (terms.trade_type == TradeType::Native).then(|| ids::code_url(self.seed, self.sessions)),
            issued_at: now,
        };
        let record = if is_new {
            Record::Placed { at: now, terms: Box::new(terms), prepay: prepay.clone() }
        } else {
            Record::Reissued { mch_id: terms.mch_id, out_trade_no: terms.out_trade_no, prepay: prepay.clone() }
        };
        self.commit(record).map_err(|_| Refused::System)?;
        Ok(prepay)
    }

    /// Closes an order for its merchant.
    pub fn close(&mut self, mch_id: &MchId, out_trade_no: &OutTradeNo, now: Timestamp) -> Result<(), Refused> {
        let order = self.order(mch_id.as_str(), out_trade_no.as_str()).ok_or(Refused::NotFound)?;
        match order.state(now) {
            TradeState::Success | TradeState::Refund => Err(Refused::Paid),
            TradeState::Closed => Err(Refused::Closed),
            TradeState::NotPay => {
                let record = Record::Closed { at: now, mch_id: mch_id.clone(), out_trade_no: out_trade_no.clone() };
                self.commit(record).map_err(|_| Refused::System)
            }
        }
    }

    /// The order a payer's handle leads to, if the handle still works. A `prepay_id` outlives a newer one of the same
    /// order; a `code_url` dies with the next.
    pub fn find(&self, handle: Handle<'_>, now: Timestamp) -> Result<&Order, PayRefused> {
        let at = |index: Option<&usize>| index.and_then(|i| self.orders.get(*i)).ok_or(PayRefused::NotFound);
        let (order, session) = match handle {
            Handle::PrepayId(id) => {
                let order = at(self.by_prepay.get(id))?;
                (order, order.prepays.iter().find(|p| p.prepay_id == id))
            }
            Handle::CodeUrl(url) => {
                let order = at(self.by_code.get(url))?;
                (order, order.prepays.last().filter(|p| p.code_url.as_deref() == Some(url)))
            }
            Handle::Number { mch_id, out_trade_no } => {
                let order = at(self.by_number.get(&number(mch_id, out_trade_no)))?;
                (order, order.prepays.last())
            }
        };
        match order.state(now) {
            TradeState::Success | TradeState::Refund => return Err(PayRefused::AlreadyPaid),
            TradeState::Closed => return Err(PayRefused::Closed),
            TradeState::NotPay => {}
        }
        let alive = session.is_some_and(|s| now < s.issued_at.after(self.lifetimes.prepay));
        if alive { Ok(order) } else { Err(PayRefused::SessionExpired) }
    }

    /// The order a handle names, whatever its state: for showing.
    pub fn look_up(&self, handle: Handle<'_>) -> Option<&Order> {
        let index = match handle {
            Handle::PrepayId(id) => self.by_prepay.get(id),
            Handle::CodeUrl(url) => self.by_code.get(url),
            Handle::Number { mch_id, out_trade_no } => self.by_number.get(&number(mch_id, out_trade_no)),
        };
        index.and_then(|i| self.orders.get(*i))
    }

    pub fn pay(&mut self, handle: Handle<'_>, funds: PayerFunds, now: Timestamp) -> Result<Payment, PayRefused> {
        let order = match self.find(handle, now) {
            Err(PayRefused::Closed | PayRefused::SessionExpired) if funds.late => self.look_up(handle),
            found => Some(found?),
        };
        let terms = &order.ok_or(PayRefused::NotFound)?.terms;
        let openid = match (&terms.openid, funds.openid) {
            (Some(expected), Some(given)) if *expected != given => return Err(PayRefused::PayerDiffers),
            (Some(expected), _) => expected.clone(),
            (None, Some(given)) => given,
            (None, None) => ids::default_payer(&terms.appid).map_err(|_| PayRefused::System)?,
        };
        let coupon_fee = funds.coupon_fee;
        if coupon_fee < Fen::ZERO || coupon_fee > terms.total_fee {
            return Err(PayRefused::Coupon);
        }
        let payment = Payment {
            mch_id: terms.mch_id.clone(),
            appid: terms.appid.clone(),
            out_trade_no: terms.out_trade_no.clone(),
            transaction_id: ids::transaction_id(self.seed, self.payments, now).map_err(|_| PayRefused::System)?,
            total_fee: terms.total_fee,
            cash_fee: Fen::from_i64(terms.total_fee.as_i64() - coupon_fee.as_i64()),
            coupon_fee,
            coupon_type: (coupon_fee > Fen::ZERO).then(|| funds.coupon_type.unwrap_or(CouponType::Cash)),
            openid,
            bank_type: "OTHERS".to_owned(),
            paid_at: now,
            time_end: now.to_beijing(),
        };
        self.commit(Record::Paid(Box::new(payment.clone()))).map_err(|_| PayRefused::System)?;
        Ok(payment)
    }

    /// The payer leaves the cashier; the order stays payable.
    pub fn cancel(&mut self, handle: Handle<'_>, now: Timestamp) -> Result<&Order, PayRefused> {
        let terms = &self.find(handle, now)?.terms;
        let record = Record::Cancelled { mch_id: terms.mch_id.clone(), out_trade_no: terms.out_trade_no.clone() };
        self.commit(record).map_err(|_| PayRefused::System)?;
        self.look_up(handle).ok_or(PayRefused::NotFound)
    }

    /// Writes down a notification's end.
    pub fn delivered(&mut self, delivery: Delivery) -> std::io::Result<()> {
        self.commit(Record::Delivered(Box::new(delivery)))
    }

    /// Journal first: a change that cannot be written down does not happen.
    pub(in crate::sandbox) fn commit(&mut self, record: Record) -> std::io::Result<()> {
        if let Some(journal) = &mut self.journal {
            journal.append(&record)?;
        }
        self.apply(record);
        Ok(())
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Placed { at, terms, prepay } => {
                let key = number(terms.mch_id.as_str(), terms.out_trade_no.as_str());
                let index = self.orders.len();
                self.orders.push(Order {
                    created_at: at,
                    expires_at: terms.time_expire.unwrap_or_else(|| at.after(self.lifetimes.order)),
                    terms: *terms,
                    prepays: Vec::new(),
                    closed_at: None,
                    cancels: 0,
                    payment: None,
                    deliveries: Vec::new(),
                    refunds: Vec::new(),
                });
                self.by_number.insert(key, index);
                self.session(index, prepay);
            }
            Record::Reissued { mch_id, out_trade_no, prepay } => {
                if let Some(index) = self.index(&mch_id, &out_trade_no) {
                    self.session(index, prepay);
                }
            }
            Record::Cancelled { mch_id, out_trade_no } => {
                self.change(&mch_id, &out_trade_no, |order| order.cancels = order.cancels.saturating_add(1));
            }
            Record::Closed { at, mch_id, out_trade_no } => {
                self.change(&mch_id, &out_trade_no, |order| order.closed_at = Some(at));
            }
            Record::Paid(payment) => {
                if let Some(index) = self.index(&payment.mch_id, &payment.out_trade_no) {
                    self.payments += 1;
                    self.by_transaction.insert(payment.transaction_id.as_str().to_owned(), index);
                    if let Some(order) = self.orders.get_mut(index) {
                        order.payment = Some(*payment);
                    }
                }
            }
            Record::Delivered(delivery) => {
                let delivery = *delivery;
                let (mch_id, out_trade_no) = (delivery.mch_id.clone(), delivery.out_trade_no.clone());
                self.change(&mch_id, &out_trade_no, |order| order.deliveries.push(delivery));
            }
            Record::RefundAccepted(refund) => self.apply_refund(*refund),
            Record::RefundEnded { at, mch_id, out_refund_no, status } => {
                self.apply_refund_end(&mch_id, &out_refund_no, status, at);
            }
            Record::RefundPlanned { mch_id, number, status } => self.refunds.plan(&mch_id, &number, status),
            Record::MerchantSet { mch_id, balance, refund_notify_url } => {
                self.refunds.set_merchant(mch_id, MerchantSettings { balance, refund_notify_url });
            }
        }
    }

    fn session(&mut self, index: usize, prepay: Prepay) {
        self.sessions += 1;
        self.by_prepay.insert(prepay.prepay_id.clone(), index);
        if let Some(url) = &prepay.code_url {
            self.by_code.insert(url.clone(), index);
        }
        if let Some(order) = self.orders.get_mut(index) {
            order.prepays.push(prepay);
        }
    }

    pub(in crate::sandbox) fn index(&self, mch_id: &MchId, out_trade_no: &OutTradeNo) -> Option<usize> {
        self.by_number.get(&number(mch_id.as_str(), out_trade_no.as_str())).copied()
    }

    fn change(&mut self, mch_id: &MchId, out_trade_no: &OutTradeNo, change: impl FnOnce(&mut Order)) {
        if let Some(order) = self.index(mch_id, out_trade_no).and_then(|i| self.orders.get_mut(i)) {
            change(order);
        }
    }
}
