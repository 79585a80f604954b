//! Signs a message and posts it. Nothing here is written to the database.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use tokio::time::Instant;

use super::address::{AddressError, parse};
use super::answer::{Answer, Outcome};
use super::lookup::{CheckedLookup, Lookup, SystemLookup};
use super::mail;
use super::signing::{SigningSecret, signatures};
use super::wecom::{Robot, body as robot_body, judged};
use crate::clock::Timestamp;
use crate::config::{Config, ConfigHandle};
use crate::sealed_box::SealKey;
use crate::store::{EndpointFormat, WebhookEndpoint};

/// The purpose under which the key is derived.
const SEAL: &str = "webhook_secret";
/// How long a connection is kept: what its name resolved to may belong to another host soon.
const IDLE: Duration = Duration::from_secs(10);
/// A name that has not been found by then is not an error of the endpoint's maker.
const CHECK_TIME: Duration = Duration::from_secs(3);

/// Why nothing can be sent at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the HTTP client for webhooks cannot be set up: {0}")]
pub struct SenderError(String);

/// Why a secret cannot be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("neither webhooks.key_file nor web.session_key_file is configured")]
    NotConfigured,
    #[error("the endpoint's secret was sealed under another key: rotate it")]
    AnotherKey,
}

/// What is posted.
#[derive(Debug, Clone)]
pub struct Message {
    /// The event's id: the same in every attempt.
    pub id: String,
    /// The CloudEvent as JSON.
    pub body: String,
}

/// What one message about several events came to.
pub struct MessageResult {
    pub answer: Answer,
    pub bytes: usize,
    /// The first so many events are in it.
    pub reported: usize,
}

/// Posts messages. Cheap to clone.
#[derive(Clone)]
pub struct Sender(Arc<Inner>);

struct Inner {
    config: ConfigHandle,
    http: reqwest::Client,
    lookup: CheckedLookup,
    key: Option<SealKey>,
}

impl Sender {
    /// With the system's resolver.
    pub fn new(config: ConfigHandle) -> Result<Sender, SenderError> {
        Sender::with_lookup(config, Arc::new(SystemLookup))
    }

    /// With another source of addresses.
    pub fn with_lookup(config: ConfigHandle, lookup: Arc<dyn Lookup>) -> Result<Sender, SenderError> {
        let lookup = CheckedLookup { lookup, config: config.clone() };
        let http = reqwest::Client::builder()
            .user_agent(concat!("wxpay-worker/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .pool_idle_timeout(IDLE)
            .dns_resolver(Arc::new(lookup.clone()))
            .build()
            .map_err(|e| SenderError(e.to_string()))?;
        let settings = config.snapshot();
        let secret = settings.webhooks.key.as_ref().or(settings.web.session_key.as_ref());
        let key = secret.and_then(|secret| SealKey::derive(secret, SEAL).ok());
        Ok(Sender(Arc::new(Inner { config, http, lookup, key })))
    }

    /// The configuration in force.
    pub fn settings(&self) -> Arc<Config> {
        self.0.config.snapshot()
    }

    /// Whether there is a server for mails.
    pub fn has_mail_server(&self) -> bool {
        self.settings().webhooks.smtp.is_some()
    }

    /// Checks an address before it is stored. A name that is not found now is checked when something is sent.
    pub async fn check(&self, text: &str) -> Result<(), AddressError> {
        let url = parse(text, &self.settings().webhooks)?;
        let Some(url::Host::Domain(name)) = url.host() else { return Ok(()) };
        let found = tokio::time::timeout(CHECK_TIME, self.0.lookup.clone().allowed(name.to_owned())).await;
        match found {
            Ok(Err(AddressError::Inside)) => Err(AddressError::Inside),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Seals the secret of an endpoint.
    pub fn seal(&self, endpoint_id: &str, secret: &SigningSecret) -> Result<String, KeyError> {
        self.seal_text(endpoint_id, secret.expose())
    }

    /// Seals the key of a robot.
    pub fn seal_robot(&self, endpoint_id: &str, robot: &Robot) -> Result<String, KeyError> {
        self.seal_text(endpoint_id, &robot.sealed_text())
    }

    fn seal_text(&self, endpoint_id: &str, text: &str) -> Result<String, KeyError> {
        let key = self.0.key.as_ref().ok_or(KeyError::NotConfigured)?;
        key.seal(endpoint_id, text.as_bytes()).map_err(|_| KeyError::NotConfigured)
    }

    /// The secrets that sign at this moment: the one in use first.
    pub fn secrets(&self, endpoint: &WebhookEndpoint, now: Timestamp) -> Result<Vec<SigningSecret>, KeyError> {
        let mut secrets = vec![self.open(endpoint, &endpoint.secret)?];
        if let Some((sealed, until)) = &endpoint.old_secret
            && now < *until
        {
            // One that cannot be opened any more was sealed under a key before; the other one signs all the same.
            secrets.extend(self.open(endpoint, sealed).ok());
        }
        Ok(secrets)
    }

    fn open(&self, endpoint: &WebhookEndpoint, sealed: &str) -> Result<SigningSecret, KeyError> {
        SigningSecret::parse(&self.open_text(endpoint, sealed)?).ok_or(KeyError::AnotherKey)
    }

    fn open_text(&self, endpoint: &WebhookEndpoint, sealed: &str) -> Result<String, KeyError> {
        let key = self.0.key.as_ref().ok_or(KeyError::NotConfigured)?;
        let plain = key.open(&endpoint.id, sealed).map_err(|_| KeyError::AnotherKey)?;
        String::from_utf8(plain).map_err(|_| KeyError::AnotherKey)
    }

    /// Sends one message about the first of these events to an endpoint's robot or by mail, and awaits the answer
    /// within `webhooks.timeout_ms`.
    pub async fn tell(&self, endpoint: &WebhookEndpoint, events: &[Value], now: Timestamp) -> MessageResult {
        let started = Instant::now();
        let (answer, bytes, reported) = if endpoint.format == EndpointFormat::Mail {
            let (answer, bytes) = mail::send(&self.settings().webhooks, &endpoint.url, events).await;
            (answer, bytes, events.len())
        } else {
            let (body, reported) = robot_body(events);
            (self.message_robot(endpoint, &body, now).await, body.len(), reported)
        };
        MessageResult { answer: Answer { took: started.elapsed(), ..answer }, bytes, reported }
    }

    async fn message_robot(&self, endpoint: &WebhookEndpoint, body: &str, now: Timestamp) -> Answer {
        let text = self.open_text(endpoint, &endpoint.secret);
        let robot = text.and_then(|text| Robot::of_sealed(&endpoint.url, &text).ok_or(KeyError::AnotherKey));
        match robot {
            Ok(robot) => judged(self.request(robot.url().expose(), now, body, |request| request).await),
            Err(e) => Answer::unsent(Outcome::NoSecret, e.to_string()),
        }
    }

    /// Posts a message, signed as of now, and awaits the answer within `webhooks.timeout_ms`.
    pub async fn post(&self, url: &str, secrets: &[SigningSecret], message: &Message, now: Timestamp) -> Answer {
        let signed = |request: reqwest::RequestBuilder| {
            request
                .header("webhook-id", &message.id)
                .header("webhook-timestamp", now.as_seconds().to_string())
                .header("webhook-signature", signatures(secrets, &message.id, now, &message.body))
        };
        self.request(url, now, &message.body, signed).await
    }

    async fn request(
        &self,
        url: &str,
        now: Timestamp,
        body: &str,
        headers: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Answer {
        let settings = self.settings();
        let started = Instant::now();
        let answer = match parse(url, &settings.webhooks) {
            Err(refused) => Answer::refused(refused),
            Ok(url) => {
                let request = self.0.http.post(url).timeout(settings.webhooks.timeout);
                let request = headers(request.header(CONTENT_TYPE, "application/json")).body(body.to_owned());
                match request.send().await {
                    Ok(response) => Answer::of_response(response, now).await,
                    Err(error) => Answer::failed(&error),
                }
            }
        };
        Answer { took: started.elapsed(), ..answer }
    }
}
