//! An answer that is read part by part: a bill has gigabytes.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderValue};
use tokio::time::Instant;

use super::client::{Client, Wire, address, api_of};
use super::error::{TransportError, transport};

/// For a whole bill. Each part of it has the time of an answer.
const WHOLE: Duration = Duration::from_secs(3600);

/// The body of an answer with status 200, as it arrives.
#[derive(Debug)]
pub struct ByteStream {
    response: reqwest::Response,
    timeout: Duration,
}

impl ByteStream {
    /// The header `Digest`.
    pub fn digest(&self) -> Option<&str> {
        self.response.headers().get("digest").and_then(|digest| digest.to_str().ok())
    }

    /// The next part; none at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, TransportError> {
        let part = tokio::time::timeout(self.timeout, self.response.chunk()).await.map_err(|_| timed_out())?;
        Ok(part.map_err(transport)?.map(|part| part.to_vec()))
    }
}

impl Client {
    /// Posts a message to `path` and returns the body as it arrives. For calls that change nothing: when a host brings
    /// no answer, the other one is asked, too.
    pub async fn post_xml_streamed(&self, path: &str, body: String) -> Result<ByteStream, TransportError> {
        let (first, second) = self.hosts.in_order();
        match (self.wire.open(first, path, body.clone()).await, second) {
            (Err(error), Some(second)) if error.is_worth_the_backup() => {
                self.hosts.doubt(first, &self.wire.http);
                tracing::warn!(api = api_of(path), %error, "a pay host did not answer, trying the other one");
                self.wire.open(second, path, body).await
            }
            (result, _) => result,
        }
    }
}

impl Wire {
    async fn open(&self, base: &str, path: &str, body: String) -> Result<ByteStream, TransportError> {
        let started = Instant::now();
        let result = self.sent(base, path, body).await;
        let outcome = match &result {
            Ok(_) => "answered",
            Err(error) => error.label(),
        };
        metrics::histogram!("wxpay_wechat_request_seconds", "api" => api_of(path).to_owned(), "outcome" => outcome)
            .record(started.elapsed());
        result
    }

    async fn sent(&self, base: &str, path: &str, body: String) -> Result<ByteStream, TransportError> {
        let content_type = HeaderValue::from_static("text/xml; charset=utf-8");
        let request = self.http.post(address(base, path, &[])?).header(CONTENT_TYPE, content_type);
        let answer = request.timeout(WHOLE).body(body).send();
        let response = tokio::time::timeout(self.timeout, answer).await.map_err(|_| timed_out())?.map_err(transport)?;
        self.newest_date.note(response.headers().get(DATE).and_then(|date| date.to_str().ok()));
        match response.status().as_u16() {
            200 => Ok(ByteStream { response, timeout: self.timeout }),
            status => Err(TransportError::Status { status }),
        }
    }
}

fn timed_out() -> TransportError {
    TransportError::NoAnswer { why: "timed out".to_owned() }
}
