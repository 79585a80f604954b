//! The HTTP client of the shop, the payer and finance: JSON over loopback.

use serde_json::Value;

/// A client of one service.
pub struct Caller {
    base: String,
    key: Option<String>,
    client: reqwest::Client,
}

pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Caller {
    /// Calls `base`, with an API key where one is needed.
    pub fn new(base: impl Into<String>, key: Option<String>) -> Result<Caller, reqwest::Error> {
        let client = reqwest::Client::builder().no_proxy().timeout(std::time::Duration::from_secs(40)).build()?;
        Ok(Caller { base: base.into(), key, client })
    }

    /// `GET path`
    pub async fn get(&self, path: &str) -> Result<Answer, reqwest::Error> {
        self.send(self.client.get(format!("{}{path}", self.base))).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        let request = self.client.post(format!("{}{path}", self.base));
        self.send(request.header("content-type", "application/json").body(body.to_string())).await
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let body = serde_json::from_slice(&response.bytes().await?).unwrap_or(Value::Null);
        Ok(Answer { status, body })
    }
}
