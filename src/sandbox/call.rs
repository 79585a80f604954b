//! The way of every API call, of the pay API and of the platform: execute and answer, or what a fault makes of it.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::faults::{Hit, Kind, On, Set};
use super::http::wire::Wire;
use super::state::SandboxState;

/// A call that was read, checked and counted.
pub(super) trait Call {
    /// An answer that is not yet on the wire.
    type Reply;

    /// Which call it is.
    fn on(&self) -> On;

    /// Does what is asked for.
    fn execute(&self) -> Self::Reply;

    /// The refusal of a fault that refuses.
    fn refusal(&self, hit: &Hit) -> Self::Reply;

    /// Sets or leaves out elements of an answer.
    fn rewritten(reply: Self::Reply, set: &Set) -> Self::Reply;

    /// Writes the answer, changed by the fault where there is one that changes answers.
    fn answer(&self, reply: Self::Reply, fault: Option<Kind>) -> Response;
}

/// Executes and answers a call, with its fault applied.
pub(super) async fn run<C: Call>(call: &C, sandbox: &SandboxState, hit: Option<Hit>) -> Response {
    let response = match hit {
        None => call.answer(call.execute(), None),
        Some(hit) => with_fault(call, sandbox, hit).await,
    };
    sandbox.passed.of(call.on()).notify_waiters();
    response
}

async fn with_fault<C: Call>(call: &C, sandbox: &SandboxState, hit: Hit) -> Response {
    let executed = || call.answer(call.execute(), None);
    match hit.kind {
        Kind::Drop => lost(StatusCode::OK.into_response(), Wire::Lost),
        Kind::AnswerLost => lost(executed(), Wire::Lost),
        Kind::Reset => lost(executed(), Wire::Reset),
        Kind::Hang => lost(executed(), Wire::Hang),
        Kind::HalfBody => lost(executed(), Wire::Half),
        Kind::Delay => {
            tokio::time::sleep(hit.delay).await;
            executed()
        }
        Kind::Reorder => {
            sandbox.let_another_pass(call.on(), hit.delay).await;
            executed()
        }
        Kind::Slow => {
            let response = executed();
            tokio::time::sleep(hit.delay).await;
            response
        }
        Kind::Duplicate => {
            // The caller receives the second answer, which an unlucky network delivers.
            let _first = executed();
            executed()
        }
        Kind::Http500 => {
            if hit.executed {
                let _unsent = call.execute();
            }
            gateway_error()
        }
        Kind::SystemError | Kind::Refuse | Kind::Errcode => {
            if hit.executed {
                let _unsent = call.execute();
            }
            call.answer(call.refusal(&hit), None)
        }
        Kind::Raw => {
            if hit.executed {
                let _unsent = call.execute();
            }
            ([(header::CONTENT_TYPE, "text/plain")], hit.body.to_vec()).into_response()
        }
        Kind::Rewrite => call.answer(C::rewritten(call.execute(), &hit.set), None),
        // Of notifications alone; see `Kind::possible`.
        Kind::Misdirect | Kind::Wrap => executed(),
        Kind::RateLimit | Kind::ForeignAddress | Kind::CertificateExpired => call.answer(call.refusal(&hit), None),
        kind @ (Kind::Tamper | Kind::WrongSign | Kind::CrossMerchant | Kind::ForgeAmount) => {
            call.answer(call.execute(), Some(kind))
        }
    }
}

fn lost(mut response: Response, wire: Wire) -> Response {
    response.extensions_mut().insert(wire);
    response
}

/// What a gateway in front of WeChat answers when it has no upstream.
fn gateway_error() -> Response {
    let page = "<html><head><title>500 Internal Server Error</title></head><body>nginx</body></html>";
    (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/html")], page).into_response()
}

/// Where the caller reached the simulator; what is no address becomes the simulator's own.
pub(super) fn base(sandbox: &SandboxState, headers: &HeaderMap, tls: bool) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    });
    match host {
        Some(host) if tls => format!("https://{host}"),
        Some(host) => format!("http://{host}"),
        None => format!("http://{}", sandbox.addr),
    }
}
