//! An answer that is read part by part: a bill has gigabytes.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderValue};
use tokio::time::Instant;

use super::client::{Client, Wire, address, api_of};
use super::error::{TransportError, transport};

/// How slow an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Until it begins: WeChat puts a bill together first.
    pub begin: Duration,
    /// Each `bytes` of it may be waited for so long; the last ones may be fewer.
    pub window: Duration,
    pub bytes: usize,
    /// From the request to its last byte, however it comes.
    pub total: Duration,
}

impl Default for StreamLimits {
    fn default() -> StreamLimits {
        StreamLimits {
            begin: Duration::from_secs(60),
            window: Duration::from_secs(30),
            bytes: 64 * 1024,
            total: Duration::from_secs(3600),
        }
    }
}

/// The body of an answer with status 200, as it arrives.
#[derive(Debug)]
pub struct ByteStream {
    response: reqwest::Response,
    limits: StreamLimits,
    /// What is left of the window. Only waiting uses it up: a slow disk is not a slow host.
    left: Duration,
    /// Received in the window.
    received: usize,
}

impl ByteStream {
    /// The header `Digest`.
    pub fn digest(&self) -> Option<&str> {
        self.response.headers().get("digest").and_then(|digest| digest.to_str().ok())
    }

    /// The next part; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        let started = Instant::now();
        let part = tokio::time::timeout(self.left, self.response.chunk()).await.map_err(|_| too_slow())?;
        let part = part.map_err(transport)?;
        self.left = self.left.saturating_sub(started.elapsed());
        self.received += part.as_ref().map_or(0, |part| part.len());
        if self.received >= self.limits.bytes {
            (self.left, self.received) = (self.limits.window, 0);
        } else if self.left.is_zero() && part.is_some() {
            return Err(too_slow());
        }
        Ok(part.map(|part| part.to_vec()))
    }
}

impl Client {
    /// Posts a message to `path` and returns the body as it arrives. For calls that change nothing: when a host brings
    /// no answer, the other one is asked, too. That a bill takes long says nothing about the host's other calls, so
    /// only a failed connection keeps them from it.
    pub async fn post_xml_streamed(
        &self,
        path: &str,
        body: String,
        limits: StreamLimits,
    ) -> Result<ByteStream, TransportError> {
        let (first, second) = self.hosts.in_order();
        match (self.wire.open(first, path, body.clone(), limits).await, second) {
            (Err(error), Some(second)) if error.is_worth_the_backup() => {
                if matches!(error, TransportError::NotSent { .. }) {
                    self.hosts.doubt(first, &self.wire.http);
                }
                tracing::warn!(api = api_of(path), %error, "a pay host did not answer, trying the other one");
                self.wire.open(second, path, body, limits).await
            }
            (result, _) => result,
        }
    }
}

impl Wire {
    async fn open(
        &self,
        base: &str,
        path: &str,
        body: String,
        limits: StreamLimits,
    ) -> Result<ByteStream, TransportError> {
        let started = Instant::now();
        let result = self.sent(base, path, body, limits).await;
        let outcome = match &result {
            Ok(_) => "answered",
            Err(error) => error.label(),
        };
        metrics::histogram!("wxpay_wechat_request_seconds", "api" => api_of(path).to_owned(), "outcome" => outcome)
            .record(started.elapsed());
        result
    }

    async fn sent(
        &self,
        base: &str,
        path: &str,
        body: String,
        limits: StreamLimits,
    ) -> Result<ByteStream, TransportError> {
        let content_type = HeaderValue::from_static("text/xml; charset=utf-8");
        let request = self.http.post(address(base, path, &[])?).header(CONTENT_TYPE, content_type);
        let answer = request.timeout(limits.total).body(body).send();
        let response = tokio::time::timeout(limits.begin, answer).await.map_err(|_| timed_out())?.map_err(transport)?;
        self.newest_date.note(response.headers().get(DATE).and_then(|date| date.to_str().ok()));
        match response.status().as_u16() {
            200 => Ok(ByteStream { response, limits, left: limits.window, received: 0 }),
            status => Err(TransportError::Status { status }),
        }
    }
}

fn timed_out() -> TransportError {
    TransportError::NoAnswer { why: "timed out".to_owned() }
}

fn too_slow() -> TransportError {
    TransportError::NoAnswer { why: "the answer comes too slowly".to_owned() }
}
