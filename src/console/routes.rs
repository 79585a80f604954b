//! The table of the console's routes, and what surrounds every answer.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get, post};

use super::assets;
use super::fault::Fault;
use super::frame::{Frame, page};
use super::login::{invitation, page as login, preferences};
use super::nav::Place;
use super::state::{Console, ConsoleShared};
use super::words::Lang;
use super::{
    activity, dead_letters, finance, money, notifications, order, orders, overview, payers, refund, replays, search,
    settings, webhooks,
};
use crate::http::HttpShared;
use crate::http::extract::request_id::request_id;
use crate::http::extract::transport;
use crate::http::middleware::remote_ip;
use crate::http::routes::catching;

/// Scripts, styles, images and answers to forms from this site alone; no page of another site shows one of ours.
const CSP: &str = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// The routes below `/console`.
pub fn routes(http: Arc<HttpShared>) -> Router {
    let shared = Arc::new(ConsoleShared::new(http));
    let table = Router::new()
        .route("/console/", get(|| async { Redirect::permanent("/console") }))
        .route("/console/login", get(login::form).post(login::log_in))
        .route("/console/logout", post(login::log_out))
        .route("/console/invitation/{token}", get(invitation::form).post(invitation::set))
        .route("/console/password", post(invitation::change))
        .route("/console/preferences", post(preferences::set))
        .route("/console/assets/{name}", get(assets::get))
        .merge(pages())
        .merge(finance_pages())
        .merge(webhook_pages())
        .route("/console", get(overview::page::get))
        .route("/console/search", get(search::get))
        .route("/console/held", get(money::held::get))
        .route("/console/refunds", get(money::refunds::get))
        .route("/console/approvals", get(money::approvals::get))
        .route("/console/approvals/{id}", post(money::approvals::decide))
        .route("/console/payers", get(payers::list))
        .route("/console/payers/end-sessions", post(payers::end_sessions))
        .route("/console/payers/erase", post(payers::erase))
        .route("/console/payers/erasures/{id}", get(payers::get))
        .route("/console/jobs", get(activity::jobs::get))
        .route("/console/audit", get(activity::audit::get))
        .route("/console/settings", get(settings::page::get))
        .route("/console/settings/users", post(settings::users::invite))
        .route("/console/settings/users/{id}", get(settings::users::form).post(settings::users::change))
        .route("/console/settings/users/{id}/remove", post(settings::users::remove))
        .route("/console/settings/users/{id}/link", post(settings::users::link))
        .route("/console/settings/keys/{id}/revoke", post(settings::keys::revoke))
        .route("/console/settings/sessions/{id}/end", post(settings::sessions::end))
        .route("/console/{*rest}", any(|| async { Fault::NotFound }));
    // Within what surrounds every answer, so that a panic's has the headers, too.
    catching(table, |words| Fault::Internal(words).into_response())
        .layer(from_fn_with_state(Arc::clone(&shared), around))
        .with_state(shared)
}

/// Orders, and what is replayed.
fn pages() -> Router<Arc<ConsoleShared>> {
    Router::new()
        .route("/console/orders", get(orders::list))
        .route("/console/orders/{merchant}/{order_no}", get(order::get))
        .route("/console/orders/{merchant}/{order_no}/refresh", post(order::refresh))
        .route("/console/orders/{merchant}/{order_no}/close", get(order::ask_close).post(order::close))
        .route("/console/orders/{merchant}/{order_no}/accept", get(order::ask_accept).post(order::accept))
        .route("/console/orders/{merchant}/{order_no}/refund", get(refund::ask).post(refund::refund))
        .route(
            "/console/payments/{merchant}/{transaction_id}/refund",
            get(refund::ask_of_payment).post(refund::refund_of_payment),
        )
        .route("/console/notifications", get(notifications::list))
        .route("/console/notifications/{id}", get(notifications::get))
        .route("/console/dead-letters", get(dead_letters::overview))
        .route("/console/dead-letters/discard", get(dead_letters::ask).post(dead_letters::discard))
        .route("/console/dead-letters/{id}", get(dead_letters::get))
        .route("/console/replays", get(replays::list).post(replays::plan))
        .route("/console/replays/new", get(replays::ask))
        .route("/console/replays/{id}", get(replays::get))
        .route("/console/replays/{id}/stream", get(replays::stream))
        .route("/console/replays/{id}/start", post(replays::start))
        .route("/console/replays/{id}/pause", post(replays::pause))
        .route("/console/replays/{id}/resume", post(replays::resume))
        .route("/console/replays/{id}/cancel", post(replays::cancel))
}

fn finance_pages() -> Router<Arc<ConsoleShared>> {
    Router::new()
        .route("/console/ledger", get(finance::ledger::get))
        .route("/console/ledger/export", get(finance::export::ledger))
        .route("/console/reconciliation", get(finance::calendar::get))
        .route("/console/reconciliation/ask", post(finance::ask::month))
        .route("/console/reconciliation/export", get(finance::export::days))
        .route("/console/reconciliation/lines", get(finance::export::lines))
        .route("/console/reconciliation/close", get(finance::months::ask).post(finance::months::close))
        .route("/console/reconciliation/reopen", get(finance::months::ask_reopen).post(finance::months::reopen))
        .route("/console/reconciliation/{merchant}/{day}", get(finance::day::get))
        .route("/console/reconciliation/{merchant}/{day}/ask", post(finance::ask::day))
        .route("/console/reconciliation/{merchant}/{day}/explain", post(finance::explain::day))
        .route(
            "/console/reconciliation/{merchant}/{day}/repair",
            get(finance::repair::ask).post(finance::repair::repair),
        )
        .route("/console/reconciliation/{merchant}/{day}/repair/stop", post(finance::repair::stop))
        .route("/console/reconciliation/{merchant}/{day}/lines/{id}", post(finance::day::resolve))
}

fn webhook_pages() -> Router<Arc<ConsoleShared>> {
    Router::new()
        .route("/console/webhooks", get(webhooks::list::get).post(webhooks::act::create))
        .route("/console/webhooks/{id}", get(webhooks::page::get))
        .route("/console/webhooks/{id}/change", post(webhooks::act::change))
        .route("/console/webhooks/{id}/state", post(webhooks::act::state))
        .route("/console/webhooks/{id}/test", post(webhooks::act::test))
        .route("/console/webhooks/{id}/recover", post(webhooks::act::recover))
        .route("/console/webhooks/{id}/rotate", post(webhooks::act::rotate))
        .route("/console/webhooks/{id}/delete", post(webhooks::act::delete))
}

/// The routes of `console.listen`: the console, and a way to it.
pub fn own_router(http: Arc<HttpShared>) -> Router {
    let root = Router::new().route("/", get(|| async { Redirect::permanent("/console") }));
    crate::http::guarded(routes(http).merge(root))
}

/// Refuses plain http from elsewhere, makes a page of a fault, and sets the headers of every answer.
async fn around(State(shared): State<Arc<ConsoleShared>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let app = Console::of_request(&mut parts, &shared);
    let method = parts.method.clone();
    let remote = remote_ip(&parts.extensions);
    let is_private = if shared.jar.is_secure() {
        transport::is_https(remote, &parts.headers, &app.config.server.trusted_proxies)
    } else {
        transport::is_local(app.client, &parts.headers)
    };
    let mut response =
        if is_private { next.run(Request::from_parts(parts, body)).await } else { Fault::PlainHttp.into_response() };
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        response = fault_page(&app, &fault, method == Method::POST);
    }
    finish(&app, &mut response);
    response
}

fn finish(app: &Console, response: &mut Response) {
    let is_page =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CSP));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Not `no-referrer`: forms would then name no origin.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    // It was shown.
    if is_page
        && app.flash.is_some()
        && let Some(line) = app.shared.jar.end(app.shared.jar.flash())
    {
        headers.append(header::SET_COOKIE, line);
    }
}

#[derive(Template)]
#[template(path = "console/fault.html")]
struct FaultPage {
    frame: Frame,
    text: String,
    request: String,
    to_login: bool,
}

fn fault_page(app: &Console, fault: &Fault, is_post: bool) -> Response {
    let (title, text) = match fault {
        Fault::Unavailable if is_post => unknown_outcome(app.lang),
        other => described(other, app.lang),
    };
    let frame = Frame::bare(app, Place::None, title);
    let to_login = !matches!(fault, Fault::PlainHttp);
    let shown = page(&FaultPage { frame, text, request: request_id(), to_login });
    (fault.status(), shown.unwrap_or_else(|_| fault.status().into_response())).into_response()
}

/// What was posted may have been done: the answer of a COMMIT can be lost.
fn unknown_outcome(lang: Lang) -> (&'static str, String) {
    let title = lang.pick("结果未知", "The outcome is not known");
    let text = lang.pick(
        "没有收到答复，无法确认操作是否已完成。请稍后重新提交同一表单（重新加载本页即可），重复提交是安全的；不要另外新建。",
        "No answer came, so it is not known whether this was done. Send the same form again in a moment (load this \
         page again): that is safe. Do not begin a new one.",
    );
    (title, text.to_owned())
}

fn described(fault: &Fault, lang: Lang) -> (&'static str, String) {
    let (title, text) = match fault {
        Fault::NotFound => (
            lang.pick("没有此页面", "Nothing is here"),
            lang.pick("该页面不存在，或你无权查看。", "It does not exist, or you may not see it."),
        ),
        Fault::Forbidden => (
            lang.pick("没有权限", "Not allowed"),
            lang.pick(
                "你的账号没有此操作的权限，请联系管理员。",
                "Your account may not do this. Ask an administrator.",
            ),
        ),
        Fault::ForeignForm => (
            lang.pick("表单已失效", "This form is no longer valid"),
            lang.pick(
                "提交的内容不是来自当前会话的页面。请返回、刷新页面后重试。",
                "It does not come from a page of this session. Go back, load the page again and send it once more.",
            ),
        ),
        Fault::PlainHttp => (
            lang.pick("需要 https", "https is needed"),
            lang.pick(
                "控制台不接受其他主机的明文 http 请求，否则密码会以明文传输。请通过 https 代理访问（代理须列入 \
                 server.trusted_proxies，server.public_url 须为 https），或使用 SSH 隧道。",
                "Over plain http the console answers this host alone, because a password would be sent readable. Use a \
                 proxy with https that server.trusted_proxies names, with server.public_url https, or an SSH tunnel.",
            ),
        ),
        Fault::Busy => {
            (lang.pick("请求过多", "Too many requests"), lang.pick("请稍后再试。", "Wait a moment and try again."))
        }
        Fault::Unavailable => (
            lang.pick("数据库暂不可用", "The database is not available"),
            lang.pick("请稍后再试。", "Try again in a moment."),
        ),
        Fault::Unusable(words) => return (lang.pick("无法处理", "This cannot be used"), words.clone()),
        Fault::Internal(_) | Fault::Login { .. } => (
            lang.pick("出现错误", "Something is wrong here"),
            lang.pick("请把请求编号告诉管理员。", "Give the number of the request to an administrator."),
        ),
    };
    (title, text.to_owned())
}
