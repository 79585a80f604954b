//! The listeners, one plain and one with TLS: one axum router behind an own hyper loop, because some answers must not
//! arrive.
//!
//! Requests are limited to 64 KiB and must arrive within ten seconds. There is no log line per request.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::certificates::Authority;
use super::guard;
use super::tls::{Shown, Tls};
use super::wire::{Socket, Wire, halve};
use crate::clock::Clock;
use crate::ids::{MchId, TransactionId};
use crate::sandbox::control::page;
use crate::sandbox::control::wire::Problem;
use crate::sandbox::control::{bills, pay, refunds};
use crate::sandbox::faults::Faults;
use crate::sandbox::ledger::account::{Book, Handle, PayRefused, PayerFunds};
use crate::sandbox::ledger::order::Lifetimes;
use crate::sandbox::ledger::payment_flow;
use crate::sandbox::ledger::refund_flow;
use crate::sandbox::notify::schedule;
use crate::sandbox::notify::sender::Sender;
use crate::sandbox::platform::{Peer, Platform};
use crate::sandbox::request_log::RequestLog;
use crate::sandbox::settings::Settings;
use crate::sandbox::state::{SandboxState, Signals};
use crate::sandbox::{cashier, pay_v2, platform};

const BODY_LIMIT: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// Also how long an idle connection is kept.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The simulator, before it runs.
pub struct Sandbox;

/// What only some need.
#[derive(Debug, Clone)]
pub struct Options {
    /// The journal: replayed at start, appended to afterwards. Without it nothing outlives the process.
    pub state: Option<PathBuf>,
    /// Where "now" comes from. Repeats of notifications follow real time all the same.
    pub clock: Clock,
    /// Where the listener with TLS listens; without it, on the plain one's address and any free port.
    pub tls_listen: Option<SocketAddr>,
    /// Names of this host for the server's certificate, besides loopback and the listener's address.
    pub tls_names: Vec<String>,
    /// A folder for certificates: the authority outlives the process, and merchants find their files there.
    pub certificates: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options { state: None, clock: Clock::system(), tls_listen: None, tls_names: Vec::new(), certificates: None }
    }
}

/// Why the simulator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Without a merchant no request can be served.
    #[error("at least one merchant is needed")]
    NoMerchant,
    /// The listener has no address.
    #[error("the listener is not usable: {0}")]
    Listener(io::Error),
    /// The journal has orders of a merchant that is not among the settings: there is no key to sign with.
    #[error("the state file has orders of mch_id {0}, which is not configured")]
    UnknownMerchant(MchId),
    /// The journal cannot be read: missing folder, no permission, or a broken line.
    #[error("the state file is not usable: {0}")]
    Journal(io::Error),
    /// The certificates cannot be made, read or written.
    #[error("the certificates are not usable: {0}")]
    Certificates(String),
    /// The HTTP client for notifications cannot be built.
    #[error("notifications cannot be sent: {0}")]
    Client(String),
}

/// A running simulator. Dropping it stops it without waiting.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    sandbox: Arc<SandboxState>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl Running {
    /// `http://` and the address: the base of `/pay/…` and `/_sandbox/…`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `https://` and the address of the listener with TLS: the base of `/secapi/pay/refund`, which wants to see the
    /// merchant's certificate. Everything else is there too.
    pub fn refund_base_url(&self) -> String {
        self.sandbox.refund_base_url()
    }

    /// Acts as the payer who confirms a payment, as `POST /_sandbox/pay` does. The merchant is notified at once,
    /// without this call waiting for it.
    pub fn pay(&self, prepay_id: &str) -> Result<TransactionId, PayRefused> {
        payment_flow::pay(&self.sandbox, Handle::PrepayId(prepay_id), PayerFunds::default())
            .map(|payment| payment.transaction_id)
    }

    /// Stops listening, breaks off what hangs, gives the rest two seconds. With a journal, pending repeats go on at
    /// the next start.
    pub async fn shutdown(self) {
        self.stop.disarm().cancel();
        self.tasks.close();
        if tokio::time::timeout(DRAIN_TIMEOUT * 2, self.tasks.wait()).await.is_err() {
            tracing::warn!("sandbox: not every connection ended in time");
        }
    }
}

impl Sandbox {
    /// Starts on a bound listener with an empty, forgetful ledger.
    pub async fn start(listener: TcpListener, settings: Settings) -> Result<Running, StartError> {
        Sandbox::start_with(listener, settings, Options::default()).await
    }

    /// Starts on a bound listener. Notifications that the journal shows as not yet acknowledged are repeated.
    // Boxed: what a program awaits is then compiled with this crate, and not once more with each program.
    pub fn start_with(
        listener: TcpListener,
        settings: Settings,
        options: Options,
    ) -> BoxFuture<'static, Result<Running, StartError>> {
        Box::pin(Sandbox::started(listener, settings, options))
    }

    async fn started(listener: TcpListener, settings: Settings, options: Options) -> Result<Running, StartError> {
        if settings.merchants.is_empty() {
            return Err(StartError::NoMerchant);
        }
        let addr = listener.local_addr().map_err(StartError::Listener)?;
        let names: Arc<[String]> = options.tls_names.as_slice().into();
        let (authority, tls_listener, tls) = secure(addr, &settings, &options).await?;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let lifetimes = Lifetimes::scaled(settings.time_scale);
        let book = Book::open(settings.seed, lifetimes, options.state.as_deref()).map_err(StartError::Journal)?;
        let platform = Platform::new(&settings);
        let appids: HashSet<_> = settings.merchants.iter().flat_map(|m| m.appids.iter().cloned()).collect();
        let in_test = settings.merchants.iter().map(|m| (m.mch_id.as_str().to_owned(), m.in_test())).collect();
        let sandbox = Arc::new(SandboxState {
            test_accounts: in_test,
            accounts: settings.merchants.into_iter().map(|m| (m.mch_id.as_str().to_owned(), m)).collect(),
            appids,
            time_scale: settings.time_scale.max(1),
            lifetimes,
            addr,
            tls_addr: tls_listener.local_addr().map_err(StartError::Listener)?,
            authority,
            clock: options.clock,
            faults: Faults::new(settings.seed),
            sender: Sender::new().map_err(StartError::Client)?,
            tasks: tasks.clone(),
            stop: stop.clone(),
            book: Mutex::new(book),
            request_log: Mutex::new(RequestLog::default()),
            platform: Mutex::new(platform),
            differences: Mutex::default(),
            bill_forms: Mutex::default(),
            passed: Signals::default(),
        });
        for order in sandbox.book().orders() {
            if !sandbox.accounts.contains_key(order.terms.mch_id.as_str()) {
                return Err(StartError::UnknownMerchant(order.terms.mch_id.clone()));
            }
        }
        schedule::resume(&sandbox);
        refund_flow::resume(&sandbox);
        let router = Router::new()
            .merge(pay_v2::router())
            .merge(pay::router())
            .merge(refunds::router())
            .merge(bills::router())
            .merge(cashier::router())
            .merge(platform::router())
            .merge(page::router())
            .fallback(unmapped)
            .layer(axum::middleware::from_fn_with_state(names, guard::check))
            .with_state(sandbox.clone());
        tasks.spawn(accept(tls_listener, Some(tls), router.clone(), tasks.clone(), stop.clone()));
        tasks.spawn(accept(listener, None, router, tasks.clone(), stop.clone()));
        Ok(Running { addr, sandbox, tasks, stop: stop.drop_guard() })
    }
}

/// What is at no address of WeChat's is refused in WeChat's form, what is not in the control API in its own.
async fn unmapped(uri: Uri) -> Response {
    if uri.path().starts_with("/_sandbox/") {
        return Problem::not_found("the control API has no such path: /_sandbox/ lists them").into_response();
    }
    pay_v2::unknown()
}

/// The certificates, and the listener that shows and asks for them.
async fn secure(
    addr: SocketAddr,
    settings: &Settings,
    options: &Options,
) -> Result<(Authority, TcpListener, Tls), StartError> {
    let unusable = |error: &dyn std::fmt::Display| StartError::Certificates(error.to_string());
    let authority = Authority::open(options.certificates.as_deref()).map_err(|e| unusable(&e))?;
    if let Some(folder) = &options.certificates {
        authority.write_to(folder, settings.merchants.iter().map(|m| &m.mch_id)).map_err(|e| unusable(&e))?;
    }
    let wanted = options.tls_listen.unwrap_or_else(|| SocketAddr::new(addr.ip(), 0));
    let listener = TcpListener::bind(wanted).await.map_err(StartError::Listener)?;
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    names.extend(options.tls_names.iter().cloned());
    names.extend([addr.ip(), wanted.ip()].iter().filter(|ip| !ip.is_unspecified()).map(ToString::to_string));
    let tls = Tls::new(&authority, names).map_err(|e| unusable(&e))?;
    Ok((authority, listener, tls))
}

async fn accept(listener: TcpListener, tls: Option<Tls>, router: Router, tasks: TaskTracker, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                tasks.spawn(connection(stream, Peer(peer.ip()), tls.clone(), router.clone(), stop.clone()));
            }
            Err(error) => {
                // Out of descriptors, mostly: accepting again at once would spin.
                tracing::warn!(%error, "sandbox: a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: Peer, tls: Option<Tls>, router: Router, stop: CancellationToken) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "sandbox: the connection is already gone");
        return;
    }
    let reset = Arc::new(AtomicBool::new(false));
    let socket = Socket::new(stream, reset.clone());
    let Some(tls) = tls else {
        return serve(socket, peer, None, reset, router, stop).await;
    };
    let handshake = tokio::time::timeout(HEADER_TIMEOUT, tls.accept(socket));
    match stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok((stream, shown)))) => serve(stream, peer, Some(shown), reset, router, stop).await,
        Some(Ok(Err(error))) => tracing::debug!(%error, "sandbox: no TLS with this caller"),
        Some(Err(_)) | None => {}
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: Peer,
    shown: Option<Shown>,
    reset: Arc<AtomicBool>,
    router: Router,
    stop: CancellationToken,
) {
    let service = service_fn({
        let stop = stop.clone();
        move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if let Some(shown) = &shown {
                request.extensions_mut().insert(shown.clone());
            }
            answer(request, router.clone(), reset.clone(), stop.clone())
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(DRAIN_TIMEOUT, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "sandbox: a connection ended early");
    }
}

/// Tells the connection to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer, on purpose")]
struct NoAnswer;

async fn answer(
    request: Request<Incoming>,
    router: Router,
    reset: Arc<AtomicBool>,
    stop: CancellationToken,
) -> Result<Response, NoAnswer> {
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_TIMEOUT, to_bytes(Body::new(body), BODY_LIMIT)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return Ok(refuse(StatusCode::PAYLOAD_TOO_LARGE)),
        Err(_) => return Ok(refuse(StatusCode::REQUEST_TIMEOUT)),
    };
    let response = match router.oneshot(Request::from_parts(parts, Body::from(body))).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    match response.extensions().get::<Wire>().copied() {
        None => Ok(response),
        Some(Wire::Lost) => Err(NoAnswer),
        Some(Wire::Reset) => {
            reset.store(true, Ordering::Release);
            Err(NoAnswer)
        }
        Some(Wire::Hang) => {
            stop.cancelled().await;
            Err(NoAnswer)
        }
        Some(Wire::Half) => {
            let (parts, body) = response.into_parts();
            let whole = to_bytes(body, BODY_LIMIT).await.map_err(|_| NoAnswer)?;
            Ok(halve(Response::from_parts(parts, Body::empty()), &whole))
        }
    }
}

/// The rest of the request is not read, so the connection cannot be used again.
fn refuse(status: StatusCode) -> Response {
    let mut response = status.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
