//! `refundquery`: the state of refunds. Only its answer makes an accepted or notified refund count as refunded.
//!
//! A query by `out_refund_no` answers for one refund; one by order answers ten at a time (`offset` for more) and also
//! shows refunds made in the merchant platform. A record that cannot be read, by an unlisted status or otherwise, says
//! nothing about the others.

use super::coupon;
use super::coupon::Coupon;
use super::payment;
use super::payment::Incomplete;
use super::refund::{OutRefundNo, refund_id};
use super::reply;
use super::reply::{Expected, RawReply, text};
use super::request;
use super::xml::Fields;
use crate::clock::Timestamp;
use crate::config::Merchant;
use crate::event::fact::WechatError;
use crate::ids::{AppId, OutTradeNo, TransactionId};
use crate::money::Fen;
use crate::wechat::outcome::{Api, Outcome};
use crate::wechat::transport::Client;

/// Maximum number of refunds in one answer.
const PAGE: u32 = 10;

/// Which refunds are queried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    /// The one with our number.
    Refund(OutRefundNo),
    /// Those of one payment, from this one (0 is the first) on.
    Payment(TransactionId, u32),
    /// Those of one attempt, from this one (0 is the first) on.
    Attempt(OutTradeNo, u32),
}

/// The result of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundsAsked {
    /// What WeChat says, and the reply as evidence.
    Found(Refunds, RawReply),
    /// WeChat has accepted no such refund: the same number and parameters may be sent again.
    NotFound,
    /// The query itself is refused: configuration, or an order too old for it.
    Refused(WechatError),
    /// No conclusive answer: query again.
    Unknown {
        /// What was seen.
        why: String,
        /// What WeChat answered; none where no answer arrived or fits.
        said: Option<WechatError>,
    },
}

/// The refunds of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunds {
    /// WeChat's number of the payment.
    pub transaction_id: TransactionId,
    /// The attempt that was paid.
    pub out_trade_no: OutTradeNo,
    /// The order's amount; WeChat's own sample lacks it.
    pub total_fee: Option<Fen>,
    /// How many refunds there are in all, when WeChat says it (queries by order).
    pub total_refund_count: Option<u32>,
    /// Those of this answer.
    pub refunds: Vec<Refund>,
    /// Records of this answer that cannot be read: where, and why.
    pub unreadable: Vec<(u32, Incomplete)>,
}

impl Refunds {
    /// The offset of the next page, if this answer is the page from `offset` on. None after the last page.
    pub fn next_page(&self, offset: u32) -> Option<u32> {
        let here = u32::try_from(self.refunds.len() + self.unreadable.len()).unwrap_or(u32::MAX);
        let next = offset.saturating_add(here);
        // Without WeChat's count, a full page says that there may be more.
        let more = self.total_refund_count.map_or(here >= PAGE, |all| next < all);
        (more && here > 0).then_some(next)
    }
}

/// One refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Our number of it; the merchant platform makes its own.
    pub out_refund_no: OutRefundNo,
    /// WeChat's number of it.
    pub refund_id: String,
    /// The amount of the refund.
    pub refund_fee: Fen,
    /// What is settled less, when coupons make it differ.
    pub settlement_refund_fee: Option<Fen>,
    /// Its state.
    pub status: RefundStatus,
    /// `refund_recv_accout` (so spelled): where the money went, for people.
    pub refund_recv_accout: String,
    /// When it succeeded.
    pub success_time: Option<Timestamp>,
    /// The part refunded to coupons.
    pub coupons: Vec<Coupon>,
}

/// The state of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundStatus {
    /// In progress.
    Processing,
    /// The payer has the money.
    Success,
    /// Closed without moving money; to be repeated it needs a new number.
    Closed,
    /// The payer's account cannot take it: a person must act in the merchant platform. May still succeed.
    Abnormal,
}

impl RefundStatus {
    /// From WeChat's name.
    pub fn parse(text: &str) -> Option<RefundStatus> {
        match text {
            "PROCESSING" => Some(RefundStatus::Processing),
            "SUCCESS" => Some(RefundStatus::Success),
            "REFUNDCLOSE" => Some(RefundStatus::Closed),
            "CHANGE" => Some(RefundStatus::Abnormal),
            _ => None,
        }
    }

    /// WeChat's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            RefundStatus::Processing => "PROCESSING",
            RefundStatus::Success => "SUCCESS",
            RefundStatus::Closed => "REFUNDCLOSE",
            RefundStatus::Abnormal => "CHANGE",
        }
    }
}

/// The body to send.
pub fn write_request(merchant: &Merchant, appid: &AppId, which: &Which, nonce: String) -> String {
    let mut fields = request::asker(merchant, appid);
    let (name, value, offset) = match which {
        Which::Refund(no) => ("out_refund_no", no.as_str(), 0),
        Which::Payment(id, offset) => ("transaction_id", id.as_str(), *offset),
        Which::Attempt(no, offset) => ("out_trade_no", no.as_str(), *offset),
    };
    fields.insert(name.to_owned(), value.to_owned());
    if offset > 0 {
        fields.insert("offset".to_owned(), offset.to_string());
    }
    request::write(&fields, &merchant.v2_key, nonce)
}

/// Reads the reply to a query for `which`.
pub fn parse_reply(merchant: &Merchant, appid: &AppId, which: &Which, body: &[u8]) -> RefundsAsked {
    let expected = Expected {
        api: Api::RefundQuery,
        key: &merchant.v2_key,
        mch_id: merchant.mch_id.as_str(),
        appid: appid.as_str(),
    };
    asked(which, reply::parse(expected, body), body)
}

/// Queries WeChat about refunds.
pub async fn ask(client: &Client, merchant: &Merchant, appid: &AppId, which: &Which) -> RefundsAsked {
    let body = write_request(merchant, appid, which, request::nonce());
    match client.post_xml(Api::RefundQuery.path(), body).await {
        Ok(reply) => parse_reply(merchant, appid, which, &reply.body),
        Err(error) => asked(which, reply::failed(Api::RefundQuery, &error), &[]),
    }
}

fn asked(which: &Which, outcome: Outcome, body: &[u8]) -> RefundsAsked {
    let unknown = |why: String| RefundsAsked::Unknown { why, said: None };
    match outcome {
        Outcome::Done(fields) => match refunds(&fields) {
            Ok(refunds) if answers(which, &refunds) => RefundsAsked::Found(refunds, RawReply::of(body)),
            Ok(refunds) => unknown(match asked_for(which, &fields, &refunds) {
                Some(incomplete) => incomplete.to_string(),
                None => "the reply is about another order or refund".into(),
            }),
            Err(incomplete) => unknown(incomplete.to_string()),
        },
        Outcome::NotFound(_) => RefundsAsked::NotFound,
        Outcome::Refused(error) | Outcome::Setup(error) => RefundsAsked::Refused(error),
        Outcome::Ask(error)
        | Outcome::Doubt(error)
        | Outcome::Closed(error)
        | Outcome::Later(error)
        | Outcome::TooFrequent(error) => RefundsAsked::Unknown { why: reply::line(&error), said: Some(error) },
        Outcome::Unknown { why, said } => RefundsAsked::Unknown { why, said },
    }
}

fn answers(which: &Which, found: &Refunds) -> bool {
    match which {
        Which::Refund(no) => found.refunds.iter().any(|refund| refund.out_refund_no == *no),
        Which::Payment(id, _) => found.transaction_id == *id,
        Which::Attempt(no, _) => found.out_trade_no == *no,
    }
}

/// Why the refund that was asked for cannot be read, if it is among the unreadable ones.
fn asked_for(which: &Which, fields: &Fields, found: &Refunds) -> Option<Incomplete> {
    let Which::Refund(no) = which else { return None };
    let is_it = |n: u32| text(fields, &format!("out_refund_no_{n}")) == no.as_str();
    found.unreadable.iter().find(|(n, _)| is_it(*n)).map(|(_, incomplete)| *incomplete)
}

fn refunds(fields: &Fields) -> Result<Refunds, Incomplete> {
    let count: u32 = text(fields, "refund_count").parse().map_err(|_| Incomplete { field: "refund_count" })?;
    if count > PAGE {
        return Err(Incomplete { field: "refund_count" });
    }
    let (mut refunds, mut unreadable) = (Vec::new(), Vec::new());
    for n in 0..count {
        match refund(fields, n) {
            Ok(refund) => refunds.push(refund),
            Err(incomplete) => unreadable.push((n, incomplete)),
        }
    }
    Ok(Refunds {
        transaction_id: TransactionId::parse(text(fields, "transaction_id"))
            .map_err(|_| Incomplete { field: "transaction_id" })?,
        out_trade_no: payment::out_trade_no(fields)?,
        total_fee: match text(fields, "total_fee") {
            "" => None,
            fee => Some(Fen::parse_field(fee).map_err(|_| Incomplete { field: "total_fee" })?),
        },
        total_refund_count: text(fields, "total_refund_count").parse().ok(),
        refunds,
        unreadable,
    })
}

fn refund(fields: &Fields, n: u32) -> Result<Refund, Incomplete> {
    let of = |field: &str| text(fields, &format!("{field}_{n}"));
    let time = of("refund_success_time");
    Ok(Refund {
        out_refund_no: OutRefundNo::parse(of("out_refund_no")).map_err(|_| Incomplete { field: "out_refund_no" })?,
        refund_id: refund_id(fields, &format!("refund_id_{n}")).ok_or(Incomplete { field: "refund_id" })?,
        refund_fee: Fen::parse_field(of("refund_fee")).map_err(|_| Incomplete { field: "refund_fee" })?,
        settlement_refund_fee: Fen::parse_field(of("settlement_refund_fee")).ok(),
        status: RefundStatus::parse(of("refund_status")).ok_or(Incomplete { field: "refund_status" })?,
        refund_recv_accout: of("refund_recv_accout").to_owned(),
        success_time: Timestamp::parse_beijing_spaced(time).ok(),
        coupons: coupon::of_nth_refund(fields, n),
    })
}
