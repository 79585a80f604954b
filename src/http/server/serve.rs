//! The HTTP server: accepts connections, gives each its clocks, and ends them in order.
//!
//! HTTP/1.1 only. What must stay true: no connection lives longer than its clocks allow while it sends nothing; when
//! the process ends, requests that were begun are answered, as long as that takes no longer than `shutdown_timeout`.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::answer::Answer;
use super::bodies::{Bodies, Kind};
use super::connection::{Ambiguous, Limits, MAX_HEAD_BYTES, Overloaded, Phase, Remote, Watched};
use super::connections::{Connections, NoPlace, Place, Shares};
use crate::config::{self, ConfigHandle};
use crate::http::extract::body::MAX_BODY_BYTES;

/// Where the paths begin at which WeChat posts.
const NOTIFICATIONS: [&str; 2] = ["/notify/", "/api/wechat/pay/callback"];
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];
/// A request with more headers is answered 431.
const MAX_HEADERS: usize = 100;
/// Pause after an accept that failed for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener is, beside the others of its process.
#[derive(Debug, Clone)]
pub struct OfListener {
    /// Its name in metrics.
    pub name: &'static str,
    /// As they were at the start.
    pub settings: config::Server,
    /// Connections of all listeners.
    pub of_all: usize,
    /// What all listeners hold.
    pub bodies: Bodies,
}

impl OfListener {
    /// One without others beside it.
    pub fn alone(settings: config::Server) -> OfListener {
        OfListener { name: "api", of_all: settings.max_connections, settings, bodies: Bodies::default() }
    }
}

/// Serves `router` on `listener` until `cancel`, then finishes what is under way within `shutdown_timeout`. Which
/// proxies are trusted is read from the configuration in force.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    of: OfListener,
    in_force: ConfigHandle,
    cancel: CancellationToken,
) {
    let OfListener { name, settings, of_all, bodies } = of;
    let limits = Limits { header: settings.header_timeout, idle: settings.idle_timeout };
    let places = Connections::new(name, shares(&settings, of_all), bodies, in_force);
    let connections = TaskTracker::new();
    let abandon = CancellationToken::new();
    loop {
        let Some(accepted) = cancel.run_until_cancelled(listener.accept()).await else { break };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                if !is_of_one_connection(&e) {
                    tracing::error!(error = %e, "No connection can be accepted at the moment");
                    let _ = cancel.run_until_cancelled(tokio::time::sleep(ACCEPT_PAUSE)).await;
                }
                continue;
            }
        };
        let phase = Phase::new(limits);
        let Some(place) = cancel.run_until_cancelled(place(&places, remote, &phase)).await else { break };
        // Closed without an answer: to write one would keep what is short.
        let Some(place) = place else { continue };
        let (router, cancel, abandon) = (router.clone(), cancel.clone(), abandon.clone());
        let served = Served { remote, router, phase, place: Arc::new(place) };
        connections.spawn(async move {
            let _ = abandon.run_until_cancelled(connection(stream, served, limits, &cancel)).await;
        });
    }
    // New connections are refused from here on, so that a load balancer uses another process at once.
    drop(listener);
    connections.close();
    if tokio::time::timeout(settings.shutdown_timeout, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "Requests did not finish in time and are cut off");
        abandon.cancel();
        connections.wait().await;
    }
}

/// What a client may have under way at the notifications' addresses: one part of so many of all connections.
const OF_NOTIFICATIONS: usize = 32;

/// Those of one listener, of so many connections of all of them: where notifications have a listener of their own, a
/// client has no less of it than it had of the one for everything.
fn shares(settings: &config::Server, of_all: usize) -> Shares {
    let connections = settings.max_connections;
    let per_network = match settings.max_connections_per_address {
        0 => of_all / 4,
        some => some,
    };
    Shares {
        connections,
        per_network: per_network.clamp(1, connections),
        notifications: (of_all / OF_NOTIFICATIONS).max(1),
    }
}

/// A place for a connection; where there is a request under way on every other one, when the next of them has ended.
async fn place(places: &Arc<Connections>, remote: SocketAddr, phase: &Phase) -> Option<Place> {
    loop {
        match places.enter(remote.ip(), phase) {
            Ok(place) => return Some(place),
            Err(NoPlace::Network) => return None,
            // One of the others may also wait for its next request by now, which nothing signals.
            Err(NoPlace::Anywhere) => {
                let _ = tokio::time::timeout(ACCEPT_PAUSE, places.left()).await;
            }
        }
    }
}

/// The peer went away before it was accepted: nothing is wrong here.
fn is_of_one_connection(e: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(e.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// What a connection's requests are answered with.
#[derive(Clone)]
struct Served {
    remote: SocketAddr,
    router: Router,
    phase: Phase,
    place: Arc<Place>,
}

async fn connection(stream: TcpStream, served: Served, limits: Limits, cancel: &CancellationToken) {
    // Answers are small and written at once: waiting for more only delays them.
    let _ = stream.set_nodelay(true);
    let (phase, give_way) = (served.phase.clone(), served.place.give_way());
    let io = TokioIo::new(Watched::new(stream, phase.clone()));
    let service = service_fn(move |request| answer(request, served.clone()));
    let mut http = http1::Builder::new();
    http.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES).half_close(false);
    let mut connection = pin!(http.serve_connection(io, service));
    let mut stop = pin!(async {
        tokio::select! {
            () = cancel.cancelled() => {}
            () = give_way.cancelled() => {}
        }
    });
    let mut stopping = false;
    let mut clock = pin!(tokio::time::sleep(limits.header));
    poll_fn(|cx| {
        if !stopping && stop.as_mut().poll(cx).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        // An error of one connection concerns its peer alone; what the peer asked was answered or is unanswered.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(deadline) = phase.deadline() else { return Poll::Pending };
        // A head that has begun is not waited for where the place is needed.
        if give_way.is_cancelled() && phase.waits_since().is_some() {
            return Poll::Ready(());
        }
        if clock.deadline() != deadline {
            clock.as_mut().reset(deadline);
        }
        clock.as_mut().poll(cx)
    })
    .await;
}

fn kind(path: &str) -> Kind {
    match path {
        _ if NOTIFICATIONS.iter().any(|beginning| path.starts_with(beginning)) => Kind::Notification,
        _ if HEALTH.contains(&path) => Kind::Health,
        _ => Kind::Other,
    }
}

async fn answer(request: Request<Incoming>, served: Served) -> Result<Response<Answer>, Infallible> {
    let Served { remote, router, phase, place } = served;
    let length = request.body().size_hint().exact();
    let (busy, ambiguous) = phase.begin(length);
    let bytes = length.map_or(MAX_BODY_BYTES, |length| usize::try_from(length).unwrap_or(MAX_BODY_BYTES));
    let client = place.client(remote.ip(), request.headers());
    let room = place.request(client, kind(request.uri().path()), bytes.min(MAX_BODY_BYTES));
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Remote(remote));
    if ambiguous {
        request.extensions_mut().insert(Ambiguous);
    }
    if room.is_none() {
        request.extensions_mut().insert(Overloaded);
    }
    let mut response = router.oneshot(request).await?;
    // Who sends the next request before this one is answered may disagree with us about where it begins.
    if phase.has_more() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, busy, room)))
}
