//! The table of routes.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use tower_http::catch_panic::CatchPanicLayer;

use super::problem::Error;
use super::state::HttpShared;
use super::{
    books, events, health, middleware, notifications, ops, orders, payers, payments, periods, reconciliations, refunds,
    webhooks,
};

/// The routes of the public listener, and `others` beside them under the same checks.
///
/// Health and metrics are among them unless `server.admin_listen` gives them a listener of their own.
pub fn router(app: Arc<HttpShared>, others: Router) -> Router {
    let with_admin = app.snapshot().server.admin_listen.is_none();
    let mut routes = Router::new()
        .route("/v1/orders", post(orders::create::place))
        .route("/v1/orders", get(orders::list::list))
        .route("/v1/orders/{order_no}", get(orders::get::get))
        .route("/v1/orders/{order_no}/history", get(orders::history::history))
        .route("/v1/orders/{order_no}/pay-params", get(orders::get::pay_params))
        .route("/v1/orders/{order_no}/close", post(orders::close::close))
        .route("/v1/orders/{order_no}/attempts", post(orders::close::attempt))
        .route("/v1/orders/{order_no}/stream", get(orders::stream::stream))
        .route("/v1/orders/{order_no}/revoke-token", post(orders::stream::revoke_token))
        .route("/v1/events", get(events::list::events))
        .route("/v1/orders/{order_no}/refunds", post(refunds::create::of_order))
        .route("/v1/orders/{order_no}/accept", post(orders::accept::accept))
        .route("/v1/payments", get(payments::list::list))
        .route("/v1/payments/{transaction_id}", get(payments::list::get))
        .route("/v1/payments/{transaction_id}/refunds", post(refunds::create::of_payment))
        .route("/v1/ledger", get(books::ledger::list))
        .route("/v1/balances", get(books::balances::list))
        .route("/v1/reports/daily", get(books::daily::get))
        .route("/v1/reports/{merchant}/{file}", get(books::daily::detail))
        .route("/v1/periods", get(periods::list::list))
        .route("/v1/periods/{merchant}/{month}", get(periods::list::get))
        .route("/v1/periods/{merchant}/{month}/close", post(periods::change::close))
        .route("/v1/periods/{merchant}/{month}/reopen", post(periods::change::reopen))
        .route("/v1/refunds", get(refunds::list::list))
        .route("/v1/refunds/{refund_no}", get(refunds::get::get))
        .merge(webhook_routes())
        .merge(reconciliation_routes())
        .merge(ops_routes())
        .merge(notify_routes());
    if with_admin {
        routes = routes
            .route("/healthz", get(health::routes::healthz))
            .route("/readyz", get(health::routes::public_readyz))
            .route("/metrics", get(health::routes::public_metrics));
    }
    finish(routes.with_state(app).merge(others))
}

/// Where WeChat posts.
fn notify_routes() -> Router<Arc<HttpShared>> {
    Router::new()
        .route("/notify/{merchant}/pay", post(notifications::pay))
        .route("/notify/{merchant}/refund", post(notifications::refund))
}

/// The routes of `server.notify_listen`: where WeChat posts, and nothing else.
pub fn notify_router(app: Arc<HttpShared>) -> Router {
    finish(notify_routes().route("/api/wechat/pay/callback", post(notifications::pay_first)).with_state(app))
}

/// Endpoints of webhooks: scope `finance`.
fn webhook_routes() -> Router<Arc<HttpShared>> {
    Router::new()
        .route("/v1/webhooks", post(webhooks::endpoints::create))
        .route("/v1/webhooks", get(webhooks::endpoints::list))
        .route("/v1/webhooks/{id}", get(webhooks::endpoints::get))
        .route("/v1/webhooks/{id}", patch(webhooks::endpoints::update))
        .route("/v1/webhooks/{id}", delete(webhooks::endpoints::delete))
        .route("/v1/webhooks/{id}/rotate", post(webhooks::endpoints::rotate))
        .route("/v1/webhooks/{id}/test", post(webhooks::endpoints::test))
        .route("/v1/webhooks/{id}/recover", post(webhooks::deliveries::recover))
        .route("/v1/webhooks/{id}/deliveries", get(webhooks::deliveries::list))
        .route("/v1/webhooks/{id}/attempts", get(webhooks::deliveries::attempts))
}

/// Bills against the books: scope `finance`.
fn reconciliation_routes() -> Router<Arc<HttpShared>> {
    Router::new()
        .route("/v1/reconciliations", post(reconciliations::list::run))
        .route("/v1/reconciliations", get(reconciliations::list::list))
        .route("/v1/reconciliations/{merchant}/{date}", get(reconciliations::list::get))
        .route("/v1/reconciliations/{merchant}/{date}/bill", get(reconciliations::bill::get))
        .route("/v1/reconciliations/{merchant}/{date}/explain", post(reconciliations::explain::explain))
        .route("/v1/reconciliations/{merchant}/{date}/lines", get(reconciliations::lines::list))
        .route("/v1/reconciliations/{merchant}/{date}/lines/{id}/resolve", post(reconciliations::lines::resolve))
        .route("/v1/reconciliations/{merchant}/{date}/repair", post(reconciliations::lines::repair))
        .route("/v1/reconciliations/{merchant}/{date}/repair/stop", post(reconciliations::lines::stop))
}

/// What operators see and do: scope `ops`; API keys: `admin`.
fn ops_routes() -> Router<Arc<HttpShared>> {
    Router::new()
        .route("/v1/ops/jobs", get(ops::jobs::jobs))
        .route("/v1/ops/health", get(ops::health::list))
        .route("/v1/ops/jobs/{name}/run", post(ops::jobs::run))
        .route("/v1/ops/bus", get(ops::bus::overview))
        .route("/v1/ops/bus/{stream}/messages", get(ops::bus::messages))
        .route("/v1/ops/audit", get(ops::audit::list))
        .route("/v1/ops/approvals", get(ops::approvals::list))
        .route("/v1/ops/approvals/{id}", get(ops::approvals::get))
        .route("/v1/ops/approvals/{id}/approve", post(ops::approvals::approve))
        .route("/v1/ops/approvals/{id}/refuse", post(ops::approvals::refuse))
        .route("/v1/ops/keys", get(ops::keys::list))
        .route("/v1/ops/keys", post(ops::keys::create))
        .route("/v1/ops/keys/{id}/revoke", post(ops::keys::revoke))
        .route("/v1/ops/sessions/end", post(payers::sessions::end))
        .route("/v1/ops/erasures", post(payers::erasures::ask))
        .route("/v1/ops/erasures", get(payers::erasures::list))
        .route("/v1/ops/erasures/{id}", get(payers::erasures::get))
        .route("/v1/ops/notifications", get(ops::notifications::list))
        .route("/v1/ops/notifications/{id}", get(ops::notifications::get))
        .route("/v1/ops/dead-letters", get(ops::dead_letters::list))
        .route("/v1/ops/dead-letters/groups", get(ops::dead_letters::groups))
        .route("/v1/ops/dead-letters/{id}", get(ops::dead_letters::get))
        .route("/v1/ops/dead-letters/{id}/discard", post(ops::dead_letters::discard))
        .route("/v1/ops/replays", post(ops::replays::plan))
        .route("/v1/ops/replays", get(ops::replays::list))
        .route("/v1/ops/replays/{id}", get(ops::replays::get))
        .route("/v1/ops/replays/{id}/items", get(ops::replays::items))
        .route("/v1/ops/replays/{id}/start", post(ops::replays::start))
        .route("/v1/ops/replays/{id}/pause", post(ops::replays::pause))
        .route("/v1/ops/replays/{id}/resume", post(ops::replays::resume))
        .route("/v1/ops/replays/{id}/cancel", post(ops::replays::cancel))
}

/// The routes of `server.admin_listen`: health and metrics, and `others` beside them.
pub fn admin_router(app: Arc<HttpShared>, others: Router) -> Router {
    let routes = Router::new()
        .route("/healthz", get(health::routes::healthz))
        .route("/readyz", get(health::routes::readyz))
        .route("/metrics", get(health::routes::metrics));
    finish(routes.with_state(app).merge(others))
}

/// Routes of a listener of their own, under the same checks.
pub fn guarded(routes: Router) -> Router {
    finish(routes)
}

fn finish(routes: Router) -> Router {
    let routes =
        routes.fallback(|| async { Error::NoRoute }).method_not_allowed_fallback(|| async { Error::MethodNotAllowed });
    catching(routes, |words| Error::Internal { internal: words }.into_response()).layer(from_fn(middleware::guard))
}

/// Answers a panic of one of these routes with what `answer` makes of its words.
pub(crate) fn catching<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    answer: impl Fn(String) -> Response + Clone + Send + Sync + 'static,
) -> Router<S> {
    routes.layer(CatchPanicLayer::custom(move |panic: Box<dyn Any + Send>| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of an unknown kind");
        answer(format!("panic: {words}"))
    }))
}
