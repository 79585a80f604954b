//! `closeorder`: closes a number for payment. Idempotent: closing a closed number is success.
//!
//! WeChat allows it five minutes after the order was created at the earliest; the caller waits for that. A payment may
//! complete between the last query and the close: then the result says so, and nothing is closed.

use super::reply;
use super::reply::Expected;
use super::request;
use crate::config::Merchant;
use crate::event::fact::WechatError;
use crate::ids::{AppId, OutTradeNo};
use crate::wechat::outcome::{Api, Outcome};
use crate::wechat::transport::Client;

/// The result of closing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// The number can no longer be paid.
    Done,
    /// The number is already paid: query, then settle.
    AlreadyPaid,
    /// WeChat does not know the number; an order whose creation is unknown may still appear.
    NotFound,
    /// The request itself is refused: configuration.
    Refused(WechatError),
    /// It may be closed or not: query, then again.
    Unknown {
        /// What was seen.
        why: String,
        /// What WeChat answered; none where no answer arrived.
        said: Option<WechatError>,
    },
}

/// The body to send.
pub fn write_request(merchant: &Merchant, appid: &AppId, out_trade_no: &OutTradeNo, nonce: String) -> String {
    let mut fields = request::asker(merchant, appid);
    fields.insert("out_trade_no".into(), out_trade_no.as_str().to_owned());
    request::write(&fields, &merchant.v2_key, nonce)
}

/// Reads the reply.
pub fn parse_reply(merchant: &Merchant, appid: &AppId, body: &[u8]) -> Closed {
    let expected = Expected {
        api: Api::CloseOrder,
        key: &merchant.v2_key,
        mch_id: merchant.mch_id.as_str(),
        appid: appid.as_str(),
    };
    closed(reply::parse(expected, body))
}

/// Closes a number.
pub async fn close(client: &Client, merchant: &Merchant, appid: &AppId, out_trade_no: &OutTradeNo) -> Closed {
    let body = write_request(merchant, appid, out_trade_no, request::nonce());
    match client.post_xml(Api::CloseOrder.path(), body).await {
        Ok(reply) => parse_reply(merchant, appid, &reply.body),
        Err(error) => closed(reply::failed(Api::CloseOrder, &error)),
    }
}

fn closed(outcome: Outcome) -> Closed {
    match outcome {
        Outcome::Done(_) => Closed::Done,
        // ORDERPAID is the only code of this API that requires a query.
        Outcome::Ask(_) => Closed::AlreadyPaid,
        Outcome::NotFound(_) => Closed::NotFound,
        Outcome::Refused(error) | Outcome::Setup(error) => Closed::Refused(error),
        Outcome::Doubt(error) | Outcome::Closed(error) | Outcome::Later(error) | Outcome::TooFrequent(error) => {
            Closed::Unknown { why: reply::line(&error), said: Some(error) }
        }
        Outcome::Unknown { why, said } => Closed::Unknown { why, said },
    }
}
