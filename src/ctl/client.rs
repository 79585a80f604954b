//! The HTTP API as a client sees it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use super::exit::{Exit, Failure};
use crate::secret::Secret;

/// Longer than the API's longest wait, which is that of a reader of the feed.
const TIMEOUT: Duration = Duration::from_secs(75);
/// Of a file.
const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(3600);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger than any key.
const MAX_KEY_BYTES: usize = 4096;

/// The service at one address.
pub struct Api {
    base: String,
    key: Option<Secret>,
    http: reqwest::Client,
}

impl Api {
    /// With the API key from a file: a key in an argument would be seen by every user of the host.
    pub fn open(url: &str, key_file: Option<&Path>) -> Result<Api, Failure> {
        let Some(file) = key_file else {
            let text = "an API key is needed: --key-file FILE, or WXPAYCTL_KEY_FILE";
            return Err(Failure::new(Exit::Usage, text));
        };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", file.display())))?;
        let key = text.trim();
        if key.is_empty() || key.len() > MAX_KEY_BYTES || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::new(Exit::Usage, format!("{} holds no API key", file.display())));
        }
        Ok(Api { key: Some(Secret::new(key)), ..Api::without_key(url)? })
    }

    /// For what needs none.
    pub fn without_key(url: &str) -> Result<Api, Failure> {
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if parsed.is_none_or(|url| url.password().is_some() || url.query().is_some()) {
            return Err(Failure::new(
                Exit::Usage,
                "--url must be like https://pay.example.com, without a password or a query",
            ));
        }
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        Ok(Api { base: url.trim_end_matches('/').to_owned(), key: None, http })
    }

    /// `GET`; of the parameters only those that have a value.
    pub async fn get(&self, path: &str, parameters: &[(&str, Option<String>)]) -> Result<Value, Failure> {
        let (status, body) = self.try_get(path, parameters).await?;
        if status == 200 { Ok(body) } else { Err(problem(status, &body)) }
    }

    /// `GET` for what also a refusal is an answer.
    pub async fn try_get(&self, path: &str, parameters: &[(&str, Option<String>)]) -> Result<(u16, Value), Failure> {
        let address = address(path, parameters);
        self.send(self.http.get(format!("{}{address}", self.base))).await
    }

    /// `GET` of a file of any size; its parts are written as they come.
    pub async fn download(
        &self,
        path: &str,
        parameters: &[(&str, Option<String>)],
        mut write: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let request = self.http.get(format!("{}{}", self.base, address(path, parameters))).timeout(DOWNLOAD_TIMEOUT);
        let mut response = self.start(request).await?;
        let status = response.status().as_u16();
        if status != 200 {
            let bytes = response.bytes().await.map_err(|error| self.down(error))?;
            return Err(problem(status, &serde_json::from_slice(&bytes).unwrap_or(Value::Null)));
        }
        while let Some(bytes) = response.chunk().await.map_err(|error| self.down(error))? {
            write(&bytes)?;
        }
        Ok(())
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let (status, body) = self.try_post(path, body).await?;
        if (200..300).contains(&status) { Ok(body) } else { Err(problem(status, &body)) }
    }

    /// `POST` for what also a refusal is an answer.
    pub async fn try_post(&self, path: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let request = self.http.post(format!("{}{path}", self.base));
        self.send(request.header("content-type", "application/json").body(body.to_string())).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Value), Failure> {
        let response = self.start(request).await?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(|error| self.down(error))?;
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }

    async fn start(&self, mut request: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose());
        }
        request.send().await.map_err(|error| self.down(error))
    }

    fn down(&self, error: reqwest::Error) -> Failure {
        let mut text = format!("{} does not answer: {}", self.base, error.without_url());
        if self.base.contains("127.0.0.1") {
            text.push_str("; another service is named by --url or WXPAYCTL_URL");
        }
        Failure::new(Exit::Down, text)
    }
}

/// The path with those parameters that have a value.
fn address(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let mut query = Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// An identifier as one part of a path.
pub fn part(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

fn problem(status: u16, body: &Value) -> Failure {
    let exit = match status {
        404 | 410 => Exit::NotFound,
        401 | 403 | 409 => Exit::Refused,
        408 | 429 | 502..=504 => Exit::Down,
        400..500 => Exit::Usage,
        _ => Exit::Failed,
    };
    let Some(detail) = body["detail"].as_str().or_else(|| body["title"].as_str()) else {
        return Failure::new(exit, format!("the service answered {status}: is --url the service's?"));
    };
    let mut text = format!("{detail} ({status}");
    for member in ["code", "request_id"] {
        if let Some(value) = body[member].as_str() {
            text.push_str(&format!(", {} {value}", member.replace('_', " ")));
        }
    }
    text.push(')');
    for error in body["errors"].as_array().into_iter().flatten() {
        text.push_str(&format!("\n  {}", error.as_str().map_or_else(|| error.to_string(), str::to_owned)));
    }
    Failure::new(exit, text)
}
