//! The body of `POST /v1/orders`, from untrusted bytes to [`OrderContent`], with every problem at once.
//!
//! What WeChat would refuse is refused here, by WeChat's rules: a payer should never be the one who finds out. What
//! depends on the moment (`expires_at`) is kept apart, because a repeat of a good request stays good after its time is
//! over.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Timestamp;
use crate::config::{Config, Merchant};
use crate::event::command::OrderContent;
use crate::http::extract::auth::Caller;
use crate::http::extract::json_object::Form;
use crate::http::problem::{Error, FieldProblem};
use crate::ids::{AppKey, OpenId, OrderNo};
use crate::store::StoredOrder;
use crate::trade::TradeType;
use crate::wechat::v2::unified_order::{LONG_MAX_BYTES, SHORT_MAX_BYTES, TEXT_MAX_BYTES};
use crate::wechat::v2::xml::is_xml_char;

/// WeChat takes no order that expires sooner.
const MIN_EXPIRY: Duration = Duration::from_secs(60);
/// WeChat takes no order that expires later.
const MAX_EXPIRY: Duration = Duration::from_secs(7 * 24 * 3600);
const METADATA_MAX_BYTES: usize = 4 * 1024;

/// A request whose form is right.
#[derive(Debug)]
pub struct OrderRequest {
    /// What is wanted.
    pub content: OrderContent,
    /// Whether the caller named the payer's address or it is the caller's own.
    client_ip_given: bool,
    /// What is wrong with it as a new order, though one may have been taken with it before.
    pub unplaceable: Vec<FieldProblem>,
}

/// Who asks, from where, when.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    pub caller: &'a Caller,
    /// The caller's address, which stands in for the payer's where none is named.
    pub ip: IpAddr,
    pub now: Timestamp,
}

impl OrderRequest {
    pub fn parse(body: &[u8], config: &Config, asker: Asker<'_>) -> Result<OrderRequest, Error> {
        let mut form = Form::parse(body)?;
        let merchant = merchant(&mut form, config, asker.caller)?;
        let order_no = required(&mut form, "order_no", |f| f.parsed("order_no", OrderNo::parse));
        let app = merchant.and_then(|merchant| app(&mut form, merchant));
        let amount_fen = required(&mut form, "amount_fen", |f| f.amount("amount_fen"));
        let description = required(&mut form, "description", |f| plain(f, "description", TEXT_MAX_BYTES));
        let trade_type = required(&mut form, "trade_type", trade_type);
        let openid = form.parsed("openid", OpenId::parse);
        let product_id = plain(&mut form, "product_id", SHORT_MAX_BYTES);
        let scene_info = scene_info(&mut form);
        only_with(&mut form, trade_type, TradeType::Jsapi, "openid", openid.is_some());
        only_with(&mut form, trade_type, TradeType::Native, "product_id", product_id.is_some());
        only_with(&mut form, trade_type, TradeType::Mweb, "scene_info", scene_info.is_some());
        let client_ip = form.parsed("client_ip", |text| {
            text.parse::<IpAddr>().map_err(|_| "must be an IPv4 or IPv6 address").map(|ip| ip.to_canonical())
        });
        let attach = plain(&mut form, "attach", TEXT_MAX_BYTES);
        let expires_at = form.parsed("expires_at", |text| {
            Timestamp::parse_rfc3339(&text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z")
        });
        let metadata = form.object("metadata", METADATA_MAX_BYTES);
        let address = payers_ip(trade_type, client_ip).filter(|_| !is_noted(&form, "client_ip"));
        let unplaceable: Vec<FieldProblem> =
            expires_at.and_then(|at| untimely(at, asker.now)).into_iter().chain(address).collect();
        let mut problems = form.finish();
        let (Some(merchant), Some(order_no), Some(app), Some(amount_fen), Some(description), Some(trade_type), []) =
            (merchant, order_no, app, amount_fen, description, trade_type, problems.as_slice())
        else {
            problems.extend(unplaceable);
            return Err(Error::Invalid(problems));
        };
        let content = OrderContent {
            order_no,
            merchant: merchant.key.clone(),
            app,
            amount_fen,
            description,
            trade_type,
            openid,
            client_ip: client_ip.unwrap_or(asker.ip).to_string(),
            product_id,
            scene_info,
            attach,
            expires_at,
            metadata,
        };
        Ok(OrderRequest { content, client_ip_given: client_ip.is_some(), unplaceable })
    }

    /// A request that was put together here, for a payer whose address may change between two of them.
    pub fn from_payer(content: OrderContent) -> OrderRequest {
        OrderRequest { content, client_ip_given: false, unplaceable: Vec::new() }
    }

    /// Whether `stored` is the order this request asks for. An address that the caller left out does not count: a
    /// repeat may come from another of the business's machines.
    pub fn is_for(&self, stored: &StoredOrder) -> bool {
        if self.client_ip_given {
            return self.content.hash() == stored.content_hash;
        }
        let client_ip = stored.content.client_ip.clone();
        OrderContent { client_ip, ..self.content.clone() }.hash() == stored.content_hash
    }
}

/// A merchant that the caller may not see does not exist for it; one that it must name is a problem like others.
fn merchant<'c>(form: &mut Form<'_>, config: &'c Config, caller: &Caller) -> Result<Option<&'c Merchant>, Error> {
    let before = form.problems.len();
    let named = form.text("merchant");
    if form.problems.len() > before {
        return Ok(None);
    }
    match caller.merchant(config, named.as_deref(), |rule| FieldProblem::member("merchant", rule)) {
        Ok(merchant) => Ok(Some(merchant)),
        Err(Error::Invalid(problems)) => {
            form.problems.extend(problems);
            // Without the merchant nothing can be said about the app.
            form.raw("app");
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

fn app(form: &mut Form<'_>, merchant: &Merchant) -> Option<AppKey> {
    let before = form.problems.len();
    let named = form.text("app");
    match (named, merchant.apps.as_slice()) {
        (Some(name), apps) => {
            let app = apps.iter().find(|app| app.as_str() == name).cloned();
            if app.is_none() {
                form.problem("app", "is not an app of this merchant");
            }
            app
        }
        (None, [only]) if form.problems.len() == before => Some(only.clone()),
        (None, _) => {
            if form.problems.len() == before {
                form.problem("app", "is required where the merchant has several apps");
            }
            None
        }
    }
}

/// Notes that a member is missing, unless something else is noted about it already.
fn required<'a, T>(form: &mut Form<'a>, name: &str, take: impl FnOnce(&mut Form<'a>) -> Option<T>) -> Option<T> {
    let before = form.problems.len();
    let value = take(form);
    if value.is_none() && form.problems.len() == before {
        form.problem(name, "is required");
    }
    value
}

pub(in crate::http) fn trade_type(form: &mut Form<'_>) -> Option<TradeType> {
    form.parsed("trade_type", |text| TradeType::parse(&text).ok_or("must be JSAPI, NATIVE, APP or MWEB"))
}

/// Bytes count, not characters. Control characters are refused, line breaks too: XML parsers rewrite them, and the
/// signature would not hold any more.
pub(crate) fn is_plain(text: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&text.len()) && text.chars().all(|c| is_xml_char(c) && !c.is_control())
}

pub(in crate::http) fn plain(form: &mut Form<'_>, name: &str, max_bytes: usize) -> Option<String> {
    form.parsed(name, |text| {
        let rule = || format!("must be 1 to {max_bytes} bytes of text without control characters");
        if is_plain(&text, max_bytes) { Ok(text) } else { Err(rule()) }
    })
}

/// A text of the length WeChat gives to short fields.
pub(in crate::http) fn short_text(form: &mut Form<'_>, name: &str) -> Option<String> {
    plain(form, name, SHORT_MAX_BYTES)
}

pub(in crate::http) fn scene_info(form: &mut Form<'_>) -> Option<Value> {
    let value = form.object("scene_info", LONG_MAX_BYTES)?;
    if is_plain(&value.to_string(), LONG_MAX_BYTES) {
        return Some(value);
    }
    form.problem("scene_info", "must not hold control characters");
    None
}

/// Whether something is noted about a member already.
pub(in crate::http) fn is_noted(form: &Form<'_>, name: &str) -> bool {
    form.problems.iter().any(|p| p.at == FieldProblem::member(name, "").at)
}

/// A member that one trade type needs and no other has.
pub(in crate::http) fn only_with(
    form: &mut Form<'_>,
    asked: Option<TradeType>,
    needs: TradeType,
    name: &str,
    given: bool,
) {
    let Some(asked) = asked else { return };
    let noted = is_noted(form, name);
    if asked == needs && !given && !noted {
        form.problem(name, format!("is required with trade_type {}", needs.as_str()));
    }
    if asked != needs && given {
        form.problem(name, format!("goes only with trade_type {}", needs.as_str()));
    }
}

/// WeChat compares the address of an MWEB order with the payer's browser, and lets no other pay: it must be one that a
/// browser can come from.
pub(in crate::http) fn payers_ip(trade_type: Option<TradeType>, ip: Option<IpAddr>) -> Option<FieldProblem> {
    let rule = match ip {
        _ if trade_type != Some(TradeType::Mweb) => return None,
        None => "is required with trade_type MWEB: the address of the payer's browser",
        Some(ip) if is_on_the_internet(ip) => return None,
        Some(_) => "must be the public address of the payer's browser with trade_type MWEB",
    };
    Some(FieldProblem::member("client_ip", rule))
}

/// Whether an address can be seen by a server on the internet.
fn is_on_the_internet(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_local = ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared;
            !(is_local || a == 0 || ip.is_multicast() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            let is_local = ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local();
            !(is_local || ip.is_unspecified() || ip.is_multicast())
        }
    }
}

pub(in crate::http) fn untimely(expires_at: Timestamp, now: Timestamp) -> Option<FieldProblem> {
    let fits = expires_at > now.after(MIN_EXPIRY) && expires_at <= now.after(MAX_EXPIRY);
    (!fits).then(|| FieldProblem::member("expires_at", "must be more than a minute and at most seven days ahead"))
}
