//! The body of `POST /v1/orders/{order_no}/attempts`, from untrusted bytes to the content of the new attempt.
//!
//! Amount, description and app are the order's and cannot be given: another amount is another order.

use std::net::IpAddr;
use std::time::Duration;

use super::request::{is_noted, only_with, payers_ip, scene_info, short_text, trade_type, untimely};
use crate::clock::Timestamp;
use crate::event::command::OrderContent;
use crate::http::extract::json_object::Form;
use crate::http::problem::{Error, FieldProblem};
use crate::ids::OpenId;
use crate::store::StoredOrder;
use crate::trade::TradeType;

/// What is asked for.
#[derive(Debug)]
pub struct AttemptRequest {
    /// The order's content with the new way to pay.
    pub content: OrderContent,
    /// Until when the order may be paid then.
    pub expires_at: Timestamp,
}

impl AttemptRequest {
    /// Parses the body. What it leaves out stays as it was; a time that is over is replaced by the usual one.
    pub fn parse(
        body: &[u8],
        stored: &StoredOrder,
        now: Timestamp,
        default_expiry: Duration,
    ) -> Result<AttemptRequest, Error> {
        let mut form = Form::parse(body)?;
        let was = current_trade_type(stored);
        let before = form.problems.len();
        let asked = trade_type(&mut form);
        let trade = if form.problems.len() > before { None } else { Some(asked.unwrap_or(was)) };
        let openid = form.parsed("openid", OpenId::parse);
        let product_id = short_text(&mut form, "product_id");
        let scene = scene_info(&mut form);
        // What the order was placed with serves again; what it never had must be given now.
        let old = &stored.content;
        let openid = kept(openid, old.openid.as_ref(), trade == Some(TradeType::Jsapi));
        let product_id = kept(product_id, old.product_id.as_ref(), trade == Some(TradeType::Native));
        let scene = kept(scene, old.scene_info.as_ref(), trade == Some(TradeType::Mweb));
        // The business's own mark of what is sold; the order's number is one.
        let product_id = match trade {
            Some(TradeType::Native) => product_id.or_else(|| Some(old.order_no.to_string())),
            Some(TradeType::Jsapi | TradeType::App | TradeType::Mweb) | None => product_id,
        };
        only_with(&mut form, trade, TradeType::Jsapi, "openid", openid.is_some());
        only_with(&mut form, trade, TradeType::Native, "product_id", product_id.is_some());
        only_with(&mut form, trade, TradeType::Mweb, "scene_info", scene.is_some());
        let client_ip = form.parsed("client_ip", |text| {
            text.parse::<IpAddr>().map_err(|_| "must be an IPv4 or IPv6 address").map(|ip| ip.to_canonical())
        });
        let address = payers_ip(trade, client_ip.or_else(|| old.client_ip.parse().ok()));
        let address = address.filter(|_| !is_noted(&form, "client_ip"));
        form.problems.extend(address);
        let given = form.parsed("expires_at", |text| {
            Timestamp::parse_rfc3339(&text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z")
        });
        form.problems.extend(given.and_then(|at| untimely(at, now)));
        let problems = form.finish();
        let (Some(trade_type), []) = (trade, problems.as_slice()) else { return Err(Error::Invalid(problems)) };
        let expires_at = given.unwrap_or_else(|| until(stored, now, default_expiry));
        let content = OrderContent {
            trade_type,
            openid,
            product_id,
            scene_info: scene,
            client_ip: client_ip.map_or_else(|| old.client_ip.clone(), |ip| ip.to_string()),
            expires_at: Some(expires_at),
            ..old.clone()
        };
        Ok(AttemptRequest { content, expires_at })
    }

    /// The new attempt of `GET …/pay-params?trade_type=`: whatever it needs, the order must have been placed with.
    pub fn switch(
        stored: &StoredOrder,
        trade_type: TradeType,
        now: Timestamp,
        default_expiry: Duration,
    ) -> Result<AttemptRequest, Error> {
        // Reading the parameters does not extend the order's expiry.
        if untimely(stored.order.expires_at, now).is_some() {
            return Err(Error::OrderExpired);
        }
        let body = format!("{{\"trade_type\":\"{}\"}}", trade_type.as_str());
        AttemptRequest::parse(body.as_bytes(), stored, now, default_expiry).map_err(|e| match e {
            Error::Invalid(_) => {
                let rule = "needs what the order was placed without: use POST …/attempts";
                Error::Invalid(vec![FieldProblem::parameter("trade_type", rule)])
            }
            other => other,
        })
    }
}

fn current_trade_type(stored: &StoredOrder) -> TradeType {
    stored.order.current().map_or(stored.content.trade_type, |a| a.trade_type)
}

/// A member that was given; else the order's, where the trade type needs it.
fn kept<T: Clone>(given: Option<T>, old: Option<&T>, needed: bool) -> Option<T> {
    given.or_else(|| old.filter(|_| needed).cloned())
}

/// The order's expiry while it is far enough away for WeChat, else the usual time from now.
fn until(stored: &StoredOrder, now: Timestamp, default_expiry: Duration) -> Timestamp {
    let expires_at = stored.order.expires_at;
    if untimely(expires_at, now).is_none() { expires_at } else { now.after(default_expiry) }
}
