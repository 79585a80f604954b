//! A receiver of webhooks on this host that keeps what it gets, and answers as the test says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::harness::within_timeout;

/// What came.
#[derive(Debug, Clone)]
pub struct Received {
    /// What stood behind the question mark.
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Received {
    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn order_no(&self) -> String {
        self.event()["subject"].as_str().unwrap_or_default().to_owned()
    }

    /// `order.paid`
    pub fn name(&self) -> String {
        let event_type = self.event()["type"].as_str().unwrap().to_owned();
        event_type.trim_start_matches("wxpay.").trim_end_matches(".v1").to_owned()
    }
}

type Answer = Arc<dyn Fn(&Received) -> Response + Send + Sync>;

#[derive(Clone)]
struct Shared {
    received: watch::Sender<Vec<Received>>,
    answer: Arc<Mutex<Answer>>,
    /// While it is true, answers wait.
    held: watch::Sender<bool>,
}

/// Stops when dropped.
pub struct Receiver {
    pub url: String,
    shared: Shared,
    serving: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Receiver {
    /// On this host; answers 204.
    pub async fn start() -> Receiver {
        Receiver::on("127.0.0.1:0").await
    }

    pub async fn on(address: &str) -> Receiver {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let answer: Answer = Arc::new(|_| StatusCode::NO_CONTENT.into_response());
        let shared = Shared {
            received: watch::Sender::new(Vec::new()),
            answer: Arc::new(Mutex::new(answer)),
            held: watch::Sender::new(false),
        };
        let router = Router::new().fallback(any(take)).with_state(shared.clone());
        let serving = tokio::spawn(async move { axum_serve(listener, router).await });
        Receiver { url, shared, serving }
    }

    pub fn port(&self) -> u16 {
        self.url.trim_end_matches("/hook").rsplit(':').next().unwrap().parse().unwrap()
    }

    /// Answers so from now on.
    pub fn answer(&self, answer: impl Fn(&Received) -> Response + Send + Sync + 'static) {
        *self.shared.answer.lock().unwrap() = Arc::new(answer);
    }

    pub fn status(&self, status: u16) {
        let status = StatusCode::from_u16(status).unwrap();
        self.answer(move |_| status.into_response());
    }

    /// Keeps answers back, or lets them go.
    pub fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    pub fn received(&self) -> Vec<Received> {
        self.shared.received.borrow().clone()
    }

    /// Names of what came, with the order's number: `A1 order.paid`.
    pub fn names(&self) -> Vec<String> {
        self.received().iter().map(|got| format!("{} {}", got.order_no(), got.name())).collect()
    }

    /// Awaits so many requests.
    pub async fn until(&self, count: usize) -> Vec<Received> {
        let mut changes = self.shared.received.subscribe();
        let came = changes.wait_for(|received| received.len() >= count);
        within_timeout(&format!("{count} requests"), came).await.unwrap().clone()
    }
}

async fn take(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    let query = uri.query().unwrap_or_default().to_owned();
    let received = Received { query, headers: headers.collect(), body: String::from_utf8(body.to_vec()).unwrap() };
    shared.received.send_modify(|all| all.push(received.clone()));
    let mut held = shared.held.subscribe();
    let _ = held.wait_for(|held| !held).await;
    let answer = Arc::clone(&shared.answer.lock().unwrap());
    answer(&received)
}

/// axum's own loop is not among the features that the program uses.
async fn axum_serve(listener: TcpListener, router: Router) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let service = hyper_util::service::TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let stream = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
        });
    }
}
