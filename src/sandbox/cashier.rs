//! `/_sandbox/cashier`: the payer's page. A phone's layout, no script, nothing loaded from anywhere; plain forms post
//! and redirect, so a reload never pays again. Everything shown is escaped: the texts are the merchant's.
//! Who paid by H5 finds the way back: to the shop's `redirect_url`, else to the page they came from.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use super::ledger::account::{Book, Handle, PayRefused, PayerFunds};
use super::ledger::order::{Order, TradeState};
use super::page_style::page_style;
use super::state::SandboxState;
use crate::money::Fen;
use crate::sandbox::ledger::payment_flow;
use crate::trade::TradeType;

/// The page and its form.
pub(super) fn router() -> Router<Arc<SandboxState>> {
    Router::new().route("/_sandbox/cashier", get(show).post(act))
}

#[derive(Deserialize)]
struct Visit {
    prepay_id: Option<String>,
    code_url: Option<String>,
    out_trade_no: Option<String>,
    mch_id: Option<String>,
    /// Comes with an `mweb_url`, which lives shorter than the session behind it.
    package: Option<String>,
    /// Where an H5 shop wants its customer back.
    redirect_url: Option<String>,
    /// `pay` or `cancel`, on POST.
    action: Option<String>,
    /// Set after leaving without paying.
    left: Option<String>,
}

impl Visit {
    fn handle<'a>(&'a self, sandbox: &'a SandboxState) -> Option<Handle<'a>> {
        if let Some(id) = &self.prepay_id {
            return Some(Handle::PrepayId(id));
        }
        if let Some(url) = &self.code_url {
            return Some(Handle::CodeUrl(url));
        }
        let only = || sandbox.accounts.keys().next().filter(|_| sandbox.accounts.len() == 1);
        let mch_id = self.mch_id.as_ref().or_else(only)?;
        Some(Handle::Number { mch_id, out_trade_no: self.out_trade_no.as_deref()? })
    }

    /// The shop's address, if it is one that a link may lead to.
    fn back(&self) -> Option<&str> {
        self.redirect_url.as_deref().filter(|url| is_web(url))
    }
}

fn is_web(url: &str) -> bool {
    let parsed: Result<Uri, _> = url.parse();
    parsed.is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")))
}

/// What the page shows.
enum Scene<'a> {
    Payable { order: &'a Order, prepay_id: &'a str },
    Paid(&'a Order),
    Left { order: &'a Order, prepay_id: &'a str },
    Closed(&'a Order),
    Expired(&'a Order),
    NotFound,
}

async fn show(
    State(sandbox): State<Arc<SandboxState>>,
    headers: HeaderMap,
    visit: Result<Query<Visit>, QueryRejection>,
) -> Response {
    let Ok(Query(visit)) = visit else {
        return page(StatusCode::BAD_REQUEST, &not_found());
    };
    let book = sandbox.book();
    let scene = scene(&sandbox, &book, &visit);
    let (status, order) = match &scene {
        Scene::Payable { order, .. } | Scene::Paid(order) | Scene::Left { order, .. } => (StatusCode::OK, Some(*order)),
        Scene::Closed(order) | Scene::Expired(order) => (StatusCode::GONE, Some(*order)),
        Scene::NotFound => (StatusCode::NOT_FOUND, None),
    };
    let back = visit.back().or_else(|| order.and_then(|order| shop(order, &headers)));
    let html = render(&sandbox, &scene, back);
    drop(book);
    page(status, &html)
}

/// Where an H5 order whose shop named no address for it came from: the page that led here, else the shop's site.
fn shop<'a>(order: &'a Order, headers: &'a HeaderMap) -> Option<&'a str> {
    if order.terms.trade_type != TradeType::Mweb {
        return None;
    }
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    let referer = text(header::REFERER).filter(|referer| {
        let parsed: Result<Uri, _> = referer.parse();
        parsed.is_ok_and(|url| url.authority().is_some_and(|authority| authority.as_str() != host))
    });
    referer.into_iter().chain(order.terms.wap_url.as_deref()).find(|url| is_web(url))
}

fn scene<'b>(sandbox: &SandboxState, book: &'b Book, visit: &Visit) -> Scene<'b> {
    let Some((handle, order)) = visit.handle(sandbox).and_then(|h| book.look_up(h).map(|order| (h, order))) else {
        return Scene::NotFound;
    };
    let now = sandbox.now();
    match order.state(now) {
        TradeState::Success | TradeState::Refund => return Scene::Paid(order),
        TradeState::Closed => return Scene::Closed(order),
        TradeState::NotPay => {}
    }
    let session = match handle {
        Handle::PrepayId(id) => order.prepays.iter().find(|p| p.prepay_id == id),
        Handle::CodeUrl(_) | Handle::Number { .. } => order.prepays.last(),
    };
    let Some(session) = session.filter(|_| book.find(handle, now).is_ok()) else {
        return Scene::Expired(order);
    };
    if visit.package.is_some() && now >= session.issued_at.after(sandbox.lifetimes.mweb_url) {
        return Scene::Expired(order);
    }
    let prepay_id = &session.prepay_id;
    if visit.left.is_some() { Scene::Left { order, prepay_id } } else { Scene::Payable { order, prepay_id } }
}

async fn act(State(sandbox): State<Arc<SandboxState>>, visit: Result<Query<Visit>, QueryRejection>) -> Response {
    let Ok(Query(visit)) = visit else {
        return page(StatusCode::BAD_REQUEST, &not_found());
    };
    let Some(id) = visit.prepay_id.as_deref() else {
        return page(StatusCode::NOT_FOUND, &not_found());
    };
    let handle = Handle::PrepayId(id);
    let (done, left) = match visit.action.as_deref() {
        Some("pay") => (payment_flow::pay(&sandbox, handle, PayerFunds::default()).map(drop), false),
        Some("cancel") => {
            let now = sandbox.now();
            (sandbox.book().cancel(handle, now).map(drop), true)
        }
        Some(_) | None => return page(StatusCode::BAD_REQUEST, &not_found()),
    };
    match done {
        Ok(()) => {}
        Err(PayRefused::System) => {
            return page(StatusCode::INTERNAL_SERVER_ERROR, &document("系统繁忙", "<h1>系统繁忙</h1>", "请稍后再试"));
        }
        // The page itself tells which of these it is.
        Err(
            PayRefused::NotFound
            | PayRefused::SessionExpired
            | PayRefused::Closed
            | PayRefused::AlreadyPaid
            | PayRefused::PayerDiffers
            | PayRefused::Coupon,
        ) => {}
    }
    let mut to = format!("/_sandbox/cashier?prepay_id={}", percent(id));
    if left {
        to.push_str("&left=1");
    }
    if let Some(back) = visit.back() {
        to.push_str("&redirect_url=");
        to.push_str(&percent(back));
    }
    Redirect::to(&to).into_response()
}

fn page(status: StatusCode, html: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, html.to_owned()).into_response()
}

fn render(sandbox: &SandboxState, scene: &Scene<'_>, back: Option<&str>) -> String {
    let home =
        back.map_or_else(String::new, |url| format!(r#"<a class="button plain" href="{}">返回商家</a>"#, escape(url)));
    match scene {
        Scene::Payable { order, prepay_id } => {
            let back = back.map_or_else(String::new, |url| format!("&amp;redirect_url={}", percent(url)));
            let action = format!("/_sandbox/cashier?prepay_id={}{back}", percent(prepay_id));
            let forms = format!(
                r#"<form method="post" action="{action}&amp;action=pay"><button class="button">确认支付</button></form>
<form method="post" action="{action}&amp;action=cancel"><button class="close" aria-label="取消">×</button></form>"#
            );
            ordered(sandbox, "微信支付（模拟）", "", order, &forms)
        }
        Scene::Paid(order) => ordered(sandbox, "支付成功", TICK, order, &home),
        Scene::Left { order, prepay_id } => {
            let back = back.map_or_else(String::new, |url| format!("&amp;redirect_url={}", percent(url)));
            let again = format!(
                r#"<a class="button" href="/_sandbox/cashier?prepay_id={}{back}">继续支付</a>{home}"#,
                percent(prepay_id)
            );
            ordered(sandbox, "支付未完成", WARNING, order, &again)
        }
        Scene::Closed(order) => ordered(sandbox, "订单已关闭", WARNING, order, &home),
        Scene::Expired(order) => ordered(sandbox, "支付链接已失效，请回到商家重新支付", WARNING, order, &home),
        Scene::NotFound => not_found(),
    }
}

/// No order, so no way back to a shop either.
fn not_found() -> String {
    document("订单不存在", &format!("{WARNING}<h1>订单不存在</h1>"), "")
}

const TICK: &str = r#"<p class="mark tick" aria-hidden="true"></p>"#;
const WARNING: &str = r#"<p class="mark" aria-hidden="true">!</p>"#;

/// A page about an order: what was said of it, whose it is, how much, and the rows that WeChat shows.
fn ordered(sandbox: &SandboxState, title: &str, mark: &str, order: &Order, actions: &str) -> String {
    let terms = &order.terms;
    let payee = sandbox.merchant_name(terms.mch_id.as_str());
    let mut rows = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = write!(rows, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    };
    row("商品", &terms.body);
    row("支付方式", "零钱");
    if let Some(payment) = &order.payment {
        row("支付时间", &readable(&payment.time_end));
        row("交易单号", payment.transaction_id.as_str());
    }
    row("商户单号", terms.out_trade_no.as_str());
    row("商户号", terms.mch_id.as_str());
    let details = format!(
        r#"{mark}<h1>{title}</h1><p class="payee">{}</p><p class="amount">¥{}</p><dl>{rows}</dl>"#,
        escape(&payee),
        yuan(terms.total_fee)
    );
    document(title, &details, actions)
}

fn document(title: &str, details: &str, actions: &str) -> String {
    let style = page_style();
    format!(
        r#"<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main>{details}
{actions}</main><footer>模拟收银台，不会产生真实扣款</footer></body></html>
"#
    )
}

/// WeChat's fourteen digits as payers read a time.
fn readable(time_end: &str) -> String {
    let part = |from: usize, to: usize| time_end.get(from..to).unwrap_or_default();
    let (year, month, day) = (part(0, 4), part(4, 6), part(6, 8));
    format!("{year}-{month}-{day} {}:{}:{}", part(8, 10), part(10, 12), part(12, 14))
}

/// As payers read it.
pub(super) fn yuan(fee: Fen) -> String {
    format!("{}.{:02}", fee.as_i64() / 100, fee.as_i64() % 100)
}

/// For text and attribute values of HTML.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// For a query value: everything but letters, digits, `-`, `.`, `_`, `~` is encoded.
fn percent(text: &str) -> String {
    let encoded = |byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}
