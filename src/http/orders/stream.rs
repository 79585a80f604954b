//! `GET /v1/orders/{order_no}/stream`: an order's states as server-sent events; `POST …/revoke-token`.
//!
//! For the business by its API key, for a payer's page by the order's own token: as a header, or in the query, since an
//! `EventSource` sends no headers. What must stay true: the token reads this one stream, ends a day after the order or
//! when it is revoked, also what it opened, and shows nothing that is the business's alone; an API key is never read
//! from a query, and one that counts no more reads nothing more.
//!
//! Every event is the whole state, so a client that missed some has lost nothing; the event id is the order's version,
//! and who names the last one it saw is not sent it again. A stream ends when the order is credited, closed or failed,
//! after an hour, when a newer one takes its place, and when the process ends; the client then comes back.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::get::find;
use super::view::OrderJson;
use crate::config::Scope;
use crate::http::change_hub::Following;
use crate::http::extract::auth::{Authorized, Caller, Ops, bearer, caller, same_secret};
use crate::http::extract::client_addr::ClientIp;
use crate::http::extract::path::OrderPath;
use crate::http::extract::posted::Posted;
use crate::http::extract::query::{MerchantQuery, StreamQuery, StrictQuery};
use crate::http::network::network;
use crate::http::open_streams::StreamPlace;
use crate::http::ops::operator;
use crate::http::ops::query::reason_of_body;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::{HttpState, StreamClient, StreamSubject};
use crate::ops;
use crate::order::{Order, OrderState, PaymentClass};
use crate::secret::Secret;
use crate::store::StoredOrder;

/// A comment after this much silence keeps proxies from closing the stream.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long an order's token counts once the order has ended and changes no more.
const TOKEN_OUTLIVES: Duration = Duration::from_secs(24 * 3600);
/// The longest a stream lasts.
const LIFETIME: Duration = Duration::from_secs(3600);
/// When a client comes back whose stream ended by itself.
const RETRY: Duration = Duration::from_secs(3);
/// When one comes back whose place was taken: pages that are all alive would else end each other's streams at once.
const RETRY_WHEN_TAKEN: Duration = Duration::from_secs(30);

pub async fn stream(
    app: HttpState,
    StrictQuery(query): StrictQuery<StreamQuery>,
    path: Result<OrderPath, Error>,
    ClientIp(client): ClientIp,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let Opened { order, opener } = authorized(&app, &headers, &query, path).await?;
    let last_seen = headers.get("last-event-id").and_then(|v| v.to_str().ok()?.parse::<i64>().ok());
    let news = last_seen.is_none_or(|version| order.order.version > version);
    if !news && is_final(&order) {
        // To an event source this says: do not come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let is_payers = matches!(opener, Opener::Token(_));
    let subject = (order.order.merchant.clone(), order.order.order_no.clone(), is_payers);
    // A trusted proxy that names no client is many clients'.
    let is_proxy = app.config.server.trusted_proxies.iter().any(|net| net.contains(&client));
    let client = (!is_proxy).then(|| (network(client), is_payers));
    let gives_way = |of: &StreamClient| of.1 || !is_payers;
    let place = app.streams.enter(&subject, client, gives_way).ok_or(Error::TooManyStreams)?;
    let following = app.orders.follow(&order.order.merchant, &order.order.order_no, Some(Arc::clone(&order)));
    let sent = if news { None } else { last_seen };
    let until = Instant::now() + LIFETIME;
    let mut checks = tokio::time::interval(app.stream_limits.key_checked_every);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let first = news.then_some(order);
    let states = Telling { app, following, sent, first, until, ended: false, opener, checks, place };
    let events = stream::unfold(states, |mut states| async move {
        let event = states.next().await?;
        Some((Ok::<_, Infallible>(event), states))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)).into_response();
    // Reverse proxies that gather answers would hold events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// `POST /v1/orders/{order_no}/revoke-token`: `{"reason": "…"}`. The new token is for who may place orders.
pub async fn revoke_token(
    app: HttpState,
    caller: Authorized<Ops>,
    StrictQuery(query): StrictQuery<MerchantQuery>,
    OrderPath(order_no): OrderPath,
    request: Request,
) -> Result<Response, Error> {
    let Posted { body, client, .. } = Posted::json(&app, request).await?;
    let reason = reason_of_body(&body)?;
    let order = find(&app, &caller, query.merchant.as_deref(), &order_no).await?;
    let now = app.clock.now();
    ops::orders::revoke_token(&app.store, &operator(&caller, client), &order, reason, now).await?;
    let merchant = &order.order.merchant;
    Ok(axum::Json(json!({"merchant": merchant, "order_no": order_no, "revoked_at": now})).into_response())
}

/// An order whose stream may be opened.
struct Opened {
    order: Arc<StoredOrder>,
    opener: Opener,
}

/// What opened a stream, which ends where that opens nothing any more.
enum Opener {
    Key(Box<Caller>),
    /// The order's own token.
    Token(Secret),
}

/// The order, for a key that may see it or for the order's own token. Whether an order exists is disclosed to keys
/// alone.
async fn authorized(
    app: &HttpState,
    headers: &HeaderMap,
    query: &StreamQuery,
    path: Result<OrderPath, Error>,
) -> Result<Opened, Error> {
    let named = query.merchant.as_deref();
    let must_name = |rule| FieldProblem::parameter("merchant", rule);
    let key = caller(app, headers, Scope::Orders).await;
    if !matches!(key, Err(Error::Unauthorized | Error::UnknownKey)) {
        let caller = key?;
        let OrderPath(order_no) = path?;
        let merchant = caller.merchant(&app.config, named, must_name)?;
        let order = app.store.order(&merchant.key, &order_no).await?;
        let order = order.map(Arc::new).ok_or(Error::NotFound("order"))?;
        return Ok(Opened { order, opener: Opener::Key(Box::new(caller)) });
    }
    let token = bearer(headers).or(query.order_token.as_ref().map(Secret::expose)).ok_or(Error::Unauthorized)?;
    let OrderPath(order_no) = path?;
    let merchant = match (named, app.config.merchants.as_slice()) {
        (Some(name), _) => app.config.merchant(name).ok_or(Error::UnknownKey)?,
        (None, [only]) => only,
        (None, _) => return Err(Error::Invalid(vec![must_name("is required where there are several merchants")])),
    };
    let order = app.store.order(&merchant.key, &order_no).await?;
    let order = order.filter(|order| same_secret(order.order_token.expose(), token));
    let now = app.clock.now();
    let order = order.filter(|order| !is_final(order) || now < order.updated_at.after(TOKEN_OUTLIVES));
    let order = order.map(Arc::new).ok_or(Error::UnknownKey)?;
    let opener = Opener::Token(order.order_token.clone());
    Ok(Opened { order, opener })
}

fn is_final(order: &StoredOrder) -> bool {
    match order.order.state {
        OrderState::Requested | OrderState::Payable => false,
        OrderState::Paid => order.order.paid_reported || !may_be_credited(&order.order),
        OrderState::Closed | OrderState::Failed => true,
    }
}

/// Whether a payment of an order that was paid late may yet be credited: money that is held, until all of it went back,
/// or that of an attempt which WeChat still takes money for.
fn may_be_credited(order: &Order) -> bool {
    order.any_live() || order.payments.iter().any(|payment| payment.class != PaymentClass::Returned)
}

struct Telling {
    app: HttpState,
    following: Following,
    first: Option<Arc<StoredOrder>>,
    /// The version sent last.
    sent: Option<i64>,
    until: Instant,
    ended: bool,
    opener: Opener,
    checks: Interval,
    place: StreamPlace<StreamSubject, StreamClient>,
}

impl Telling {
    async fn next(&mut self) -> Option<Event> {
        if self.ended {
            return None;
        }
        loop {
            let order = match self.first.take() {
                Some(order) => order,
                None => match self.changed().await? {
                    Change::Of(order) => order,
                    Change::PlaceTaken => {
                        self.ended = true;
                        return Some(Event::default().retry(RETRY_WHEN_TAKEN));
                    }
                },
            };
            if !self.may_read(&order).await {
                return None;
            }
            // A poll of WeChat that changed nothing is not sent, and the end that money went back is none of a version.
            if self.sent.is_some_and(|sent| order.order.version <= sent) {
                if is_final(&order) {
                    return None;
                }
                continue;
            }
            self.sent = Some(order.order.version);
            self.ended = is_final(&order);
            let event = Event::default().retry(RETRY).event("state").id(order.order.version.to_string());
            let seen = match self.opener {
                Opener::Token(_) => OrderJson::of_payer(&order),
                Opener::Key(_) => OrderJson::state(&order),
            };
            return event.json_data(seen).ok();
        }
    }

    /// What happens next; nothing where the stream ends.
    async fn changed(&mut self) -> Option<Change> {
        loop {
            tokio::select! {
                () = self.place.taken.cancelled() => return Some(Change::PlaceTaken),
                order = self.following.changed() => return order.map(Change::Of),
                () = tokio::time::sleep_until(self.until) => return None,
                _ = self.checks.tick() => {}
            }
            if !self.key_counts().await {
                return None;
            }
        }
    }

    /// Whether what opened the stream still opens it.
    async fn may_read(&self, order: &StoredOrder) -> bool {
        match &self.opener {
            Opener::Token(token) => same_secret(token.expose(), order.order_token.expose()),
            Opener::Key(_) => self.key_counts().await,
        }
    }

    async fn key_counts(&self) -> bool {
        match &self.opener {
            Opener::Token(_) => true,
            Opener::Key(caller) => caller.still_may(&self.app, Scope::Orders, &self.place.subject.0).await,
        }
    }
}

enum Change {
    Of(Arc<StoredOrder>),
    /// A newer stream took the place.
    PlaceTaken,
}
