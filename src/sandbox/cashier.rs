//! `/_sandbox/cashier`: the payer's page. A phone's layout, no script, nothing loaded from anywhere; plain forms post
//! and redirect, so a reload never pays again. Everything shown is escaped: the texts are the merchant's.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use super::ledger::account::{Book, Handle, PayRefused, PayerFunds};
use super::ledger::order::{Order, TradeState};
use super::state::SandboxState;
use crate::money::Fen;
use crate::sandbox::ledger::payment_flow;

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
        let url = self.redirect_url.as_deref()?;
        let parsed: Uri = url.parse().ok()?;
        matches!(parsed.scheme_str(), Some("http" | "https")).then_some(url)
    }
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

async fn show(State(sandbox): State<Arc<SandboxState>>, visit: Result<Query<Visit>, QueryRejection>) -> Response {
    let Ok(Query(visit)) = visit else {
        return page(StatusCode::BAD_REQUEST, &render(&Scene::NotFound, None));
    };
    let book = sandbox.book();
    let scene = scene(&sandbox, &book, &visit);
    let status = match &scene {
        Scene::Payable { .. } | Scene::Paid(_) | Scene::Left { .. } => StatusCode::OK,
        Scene::Closed(_) | Scene::Expired(_) => StatusCode::GONE,
        Scene::NotFound => StatusCode::NOT_FOUND,
    };
    let html = render(&scene, visit.back());
    drop(book);
    page(status, &html)
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
        return page(StatusCode::BAD_REQUEST, &render(&Scene::NotFound, None));
    };
    let Some(id) = visit.prepay_id.as_deref() else {
        return page(StatusCode::NOT_FOUND, &render(&Scene::NotFound, None));
    };
    let handle = Handle::PrepayId(id);
    let (done, left) = match visit.action.as_deref() {
        Some("pay") => (payment_flow::pay(&sandbox, handle, PayerFunds::default()).map(drop), false),
        Some("cancel") => {
            let now = sandbox.now();
            (sandbox.book().cancel(handle, now).map(drop), true)
        }
        Some(_) | None => return page(StatusCode::BAD_REQUEST, &render(&Scene::NotFound, None)),
    };
    match done {
        Ok(()) => {}
        Err(PayRefused::System) => {
            return page(StatusCode::INTERNAL_SERVER_ERROR, &document("系统繁忙", "", "请稍后再试"));
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

fn render(scene: &Scene<'_>, back: Option<&str>) -> String {
    let home =
        back.map_or_else(String::new, |url| format!(r#"<a class="button plain" href="{}">返回商家</a>"#, escape(url)));
    match scene {
        Scene::Payable { order, prepay_id } => {
            let back = back.map_or_else(String::new, |url| format!("&amp;redirect_url={}", percent(url)));
            let action = format!("/_sandbox/cashier?prepay_id={}{back}", percent(prepay_id));
            let forms = format!(
                r#"<form method="post" action="{action}&amp;action=pay"><button class="button">确认支付</button></form>
<form method="post" action="{action}&amp;action=cancel"><button class="button plain">取消</button></form>"#
            );
            document("微信支付（模拟）", &details(order), &forms)
        }
        Scene::Paid(order) => document("支付成功", &details(order), &home),
        Scene::Left { order, prepay_id } => {
            let back = back.map_or_else(String::new, |url| format!("&amp;redirect_url={}", percent(url)));
            let again = format!(
                r#"<a class="button" href="/_sandbox/cashier?prepay_id={}{back}">继续支付</a>{home}"#,
                percent(prepay_id)
            );
            document("支付未完成", &details(order), &again)
        }
        Scene::Closed(order) => document("订单已关闭", &details(order), &home),
        Scene::Expired(order) => document("支付链接已失效，请回到商家重新支付", &details(order), &home),
        Scene::NotFound => document("订单不存在", "", &home),
    }
}

fn details(order: &Order) -> String {
    let terms = &order.terms;
    let mut rows = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = write!(rows, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    };
    row("商品", &terms.body);
    row("商户号", terms.mch_id.as_str());
    row("商户单号", terms.out_trade_no.as_str());
    if let Some(payment) = &order.payment {
        row("交易单号", payment.transaction_id.as_str());
    }
    format!(r#"<p class="amount">¥{}</p><dl>{rows}</dl>"#, yuan(terms.total_fee))
}

fn document(title: &str, details: &str, actions: &str) -> String {
    format!(
        r#"<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head>
<body><main><h1>{title}</h1>{details}
{actions}</main><footer>模拟收银台，不会产生真实扣款</footer></body></html>
"#
    )
}

/// A phone's page: also of the other pages that a payer sees.
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark}*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:flex;flex-direction:column;align-items:center;background:#ededed;color:#191919;\
font:16px/1.5 system-ui,-apple-system,'PingFang SC','Microsoft YaHei',sans-serif}\
main{width:100%;max-width:26rem;padding:2.5rem 1.5rem;background:#fff;flex:1}\
h1{margin:0;font-size:1.1rem;font-weight:500;text-align:center}\
.amount{margin:1.5rem 0 2rem;font-size:2.75rem;font-weight:600;text-align:center}\
dl{display:grid;grid-template-columns:auto 1fr;gap:.5rem 1.5rem;margin:0 0 2.5rem}\
dt{color:#6b6b6b}dd{margin:0;text-align:right;overflow-wrap:anywhere}\
.button{display:block;width:100%;min-height:3rem;margin:0 0 .75rem;padding:.75rem;border:0;border-radius:.5rem;\
background:#078f4c;color:#fff;font:inherit;text-align:center;text-decoration:none;cursor:pointer}\
.button:focus-visible{outline:3px solid #1a73e8;outline-offset:2px}\
.plain{background:#f2f2f2;color:#191919}footer{padding:1rem;font-size:.8rem;color:#595959}\
@media(prefers-color-scheme:dark){body{background:#111;color:#e6e6e6}main{background:#1e1e1e}dt,footer{color:#a5a5a5}\
.plain{background:#333;color:#e6e6e6}}";

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
