//! `orderquery`: the state of a number at WeChat. The most reliable source: our own request, over TLS, signed.
//!
//! `result_code=SUCCESS` says that the query worked, not that anyone paid: only `trade_state` does. A state not
//! listed is unknown. `REFUND` means paid and then (partly) refunded: a payment, and a reason to query refunds.

use super::reply;
use super::reply::{Expected, RawReply, text};
use super::{payment, request};
use crate::config::Merchant;
use crate::event::fact::{Fact, WechatError};
use crate::ids::{AppId, OutTradeNo};
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
    let expected = Expected {
        api: Api::OrderQuery,
        key: &merchant.v2_key,
        mch_id: merchant.mch_id.as_str(),
        appid: appid.as_str(),
    };
    asked(out_trade_no, reply::parse(expected, body), body)
}

/// Queries WeChat about a number.
pub async fn ask(client: &Client, merchant: &Merchant, appid: &AppId, out_trade_no: &OutTradeNo) -> Asked {
    let body = write_request(merchant, appid, out_trade_no, request::nonce());
    match client.post_xml(Api::OrderQuery.path(), body).await {
        Ok(reply) => parse_reply(merchant, appid, out_trade_no, &reply.body),
        Err(error) => asked(out_trade_no, reply::failed(Api::OrderQuery, &error), &[]),
    }
}

fn asked(out_trade_no: &OutTradeNo, outcome: Outcome, body: &[u8]) -> Asked {
    let unknown = |why: String| Asked::Unknown { why };
    let fields = match outcome {
        Outcome::Done(fields) => fields,
        Outcome::NotFound(_) => return Asked::Fact(Fact::NotFound, RawReply::of(body)),
        Outcome::Refused(error) | Outcome::Setup(error) => return Asked::Refused(error),
        Outcome::Ask(error)
        | Outcome::Doubt(error)
        | Outcome::Closed(error)
        | Outcome::Later(error)
        | Outcome::TooFrequent(error) => {
            return unknown(reply::line(&error));
        }
        Outcome::Unknown { why, .. } => return unknown(why),
    };
    if text(&fields, "out_trade_no") != out_trade_no.as_str() {
        return unknown("the reply is about another out_trade_no".into());
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
