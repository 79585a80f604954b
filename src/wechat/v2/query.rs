//! `orderquery`: the state of a number at WeChat. The most reliable source: our own request, over TLS, signed.
//!
//! `result_code=SUCCESS` says that the query worked, not that anyone paid: only `trade_state` does. A state not
//! listed is unknown. `REFUND` means paid and then (partly) refunded: a payment, and a reason to query refunds.

use super::reply;
use super::reply::{Expected, RawReply, text};
use super::{payment, request};
use crate::config::Merchant;
use crate::event::fact::{Fact, WechatError};
use crate::ids::{AppId, OutTradeNo, TransactionId};
use crate::wechat::outcome::{Api, Outcome};
use crate::wechat::transport::Client;

/// The result of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// What WeChat says, and the reply as evidence.
    Fact(Fact, RawReply),
    /// The query itself is refused: configuration.
    Refused(WechatError),
    /// No conclusive answer: query again.
    Unknown {
        /// What was seen.
        why: String,
        /// What WeChat answered; none where no answer arrived or fits.
        said: Option<WechatError>,
    },
}

/// The body to send.
pub fn write_request(merchant: &Merchant, appid: &AppId, out_trade_no: &OutTradeNo, nonce: String) -> String {
    let mut fields = request::asker(merchant, appid);
    fields.insert("out_trade_no".into(), out_trade_no.as_str().to_owned());
    request::write(&fields, &merchant.v2_key, nonce)
}

/// Reads the reply to a query for `out_trade_no`.
pub fn parse_reply(merchant: &Merchant, appid: &AppId, out_trade_no: &OutTradeNo, body: &[u8]) -> Asked {
    asked(("out_trade_no", out_trade_no.as_str()), parsed(merchant, appid, body), body)
}

fn parsed(merchant: &Merchant, appid: &AppId, body: &[u8]) -> Outcome {
    let expected = Expected {
        api: Api::OrderQuery,
        key: &merchant.v2_key,
        mch_id: merchant.mch_id.as_str(),
        appid: appid.as_str(),
    };
    reply::parse(expected, body)
}

/// Queries WeChat about a payment by its own number: also where its `out_trade_no` was used more than once.
pub async fn ask_payment(client: &Client, merchant: &Merchant, appid: &AppId, transaction_id: &TransactionId) -> Asked {
    let mut fields = request::asker(merchant, appid);
    fields.insert("transaction_id".into(), transaction_id.as_str().to_owned());
    let body = request::write(&fields, &merchant.v2_key, request::nonce());
    let about = ("transaction_id", transaction_id.as_str());
    match client.post_xml(Api::OrderQuery.path(), body).await {
        Ok(reply) => asked(about, parsed(merchant, appid, &reply.body), &reply.body),
        Err(error) => asked(about, reply::failed(Api::OrderQuery, &error), &[]),
    }
}

/// Queries WeChat about a number.
pub async fn ask(client: &Client, merchant: &Merchant, appid: &AppId, out_trade_no: &OutTradeNo) -> Asked {
    let body = write_request(merchant, appid, out_trade_no, request::nonce());
    match client.post_xml(Api::OrderQuery.path(), body).await {
        Ok(reply) => parse_reply(merchant, appid, out_trade_no, &reply.body),
        Err(error) => {
            let about = ("out_trade_no", out_trade_no.as_str());
            asked(about, reply::failed(Api::OrderQuery, &error), &[])
        }
    }
}

/// `about` is the element that the query names, and that a reply which is its own repeats.
fn asked(about: (&'static str, &str), outcome: Outcome, body: &[u8]) -> Asked {
    let unknown = |why: String| Asked::Unknown { why, said: None };
    let fields = match outcome {
        Outcome::Done(fields) => fields,
        Outcome::NotFound(_) => return Asked::Fact(Fact::NotFound, RawReply::of(body)),
        Outcome::Refused(error) | Outcome::Setup(error) => return Asked::Refused(error),
        Outcome::Ask(error)
        | Outcome::Doubt(error)
        | Outcome::Closed(error)
        | Outcome::Later(error)
        | Outcome::TooFrequent(error) => {
            return Asked::Unknown { why: reply::line(&error), said: Some(error) };
        }
        Outcome::Unknown { why, said } => return Asked::Unknown { why, said },
    };
    let (name, value) = about;
    if text(&fields, name) != value {
        return unknown(format!("the reply is about another {name}"));
    }
    let fact = match text(&fields, "trade_state") {
        state @ ("SUCCESS" | "REFUND") => match payment::parse(&fields) {
            Ok(payment) if state == "REFUND" => Fact::Refunded(payment),
            Ok(payment) => Fact::Paid(payment),
            Err(incomplete) => return unknown(format!("the reply says paid, but {incomplete}")),
        },
        // PAYERROR ends only payments by payment code; for every trade type placed here the payer may try again.
        state @ ("NOTPAY" | "USERPAYING" | "ACCEPT" | "PAYERROR") => Fact::Unpaid { trade_state: state.to_owned() },
        "CLOSED" | "REVOKED" => Fact::Closed,
        _ => return unknown("the reply has a trade_state that is not documented".into()),
    };
    Asked::Fact(fact, RawReply::of(body))
}
