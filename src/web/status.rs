//! `GET /api/wechat/pay/status?order_no=`: where the session's own order stands.
//!
//! The payment sheet's "ok" is only a hint; this is what a page believes. Another user's order does not exist here.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use serde_json::json;

use super::envelope::{Failure, Reason, success};
use super::parameters::Parameters;
use super::session::Session;
use crate::ids::{OpenId, OrderNo};
use crate::store::StoredOrder;
use crate::web::state::WebState;

/// The route. `refresh=1` asks WeChat first, at most every two seconds for one order.
pub async fn status(app: WebState, request: Request) -> Result<Response, Failure> {
    let session = app.required_session(request.headers()).await?;
    let parameters = Parameters::of(request.uri());
    let order_no = OrderNo::parse(parameters.required("order_no")?)
        .map_err(|e| Failure::bad_parameter("order_no", format!("must be {}", e.rule)))?;
    let refresh = parameters.switch("refresh")?;
    let mut stored = own_order(&app, &session, &order_no).await?.ok_or(Reason::NotFound)?;
    let mut refreshed = false;
    if refresh {
        let before = (stored.order.version, stored.order.queries.answered_at);
        let payer = (session.app.clone(), session.openid.clone());
        // Beyond the payer's own number of questions the order is answered as it is.
        if app.browser()?.questions.take(&payer).is_ok() {
            stored = app.refresh_for_payer(stored).await?;
        }
        refreshed = before != (stored.order.version, stored.order.queries.answered_at);
    }
    let order = &stored.order;
    Ok(success(json!({
        "order_no": order.order_no,
        "state": order.state,
        "credited": order.paid_reported,
        "flags": order.flags.names(),
        "amount_fen": order.amount,
        "refunded_fen": stored.refunded,
        "description": stored.content.description,
        "transaction_id": order.paid_by.as_ref().map(|paid| &paid.transaction_id),
        "paid_at": order.paid_by.as_ref().map(|paid| paid.paid_at),
        "expires_at": order.expires_at,
        // Whether WeChat was asked for this answer: within two seconds of the last question it is not.
        "refreshed": refreshed,
    })))
}

/// Numbers are unique per merchant: the first order of this number that is the payer's.
async fn own_order(app: &WebState, session: &Session, order_no: &OrderNo) -> Result<Option<Arc<StoredOrder>>, Failure> {
    for merchant in app.config.merchants.iter().filter(|merchant| merchant.apps.contains(&session.app)) {
        let stored = app.store.order(&merchant.key, order_no).await?;
        if let Some(stored) = stored.filter(|stored| is_of(stored, session)) {
            return Ok(Some(Arc::new(stored)));
        }
    }
    Ok(None)
}

/// Whether the order was placed for this payer, or its newest attempt is. That one may name a payer where the order
/// named none, or another one.
fn is_of(stored: &StoredOrder, session: &Session) -> bool {
    let openid = session.openid.as_str();
    let placed_for = stored.content.openid.as_ref().map(OpenId::as_str);
    let newest = stored.params.last().and_then(|attempt| attempt.params.get("openid")).map(String::as_str);
    stored.order.app == session.app && (placed_for == Some(openid) || newest == Some(openid))
}
