//! The connection pool, and what holds for the pay hosts.

use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, DATE, HeaderValue};
use tokio::time::Instant;

use super::error::{ClientError, MAX_REPLY_BYTES, TransportError, transport};
use crate::clock::Clock;
use crate::config;
use crate::telemetry::error_text;
use crate::wechat::certificate::MerchantCertificate;
use crate::wechat::newest_date::NewestDate;
use crate::wechat::pay_hosts::{PayHosts, SLOW};

/// A reply, and whether an earlier call is open.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    /// The reply's body.
    pub body: Vec<u8>,
    /// The other host took the same call, too, and may have executed it, though it gave no answer. A success or a state
    /// means what it always means; a refusal by the one proves nothing about the other.
    pub earlier_may_have_executed: bool,
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reply")
            .field("bytes", &self.body.len())
            .field("earlier_may_have_executed", &self.earlier_may_have_executed)
            .finish()
    }
}

/// A connection pool with this program's rules for calls to WeChat. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::wechat) struct Wire {
    pub(super) http: reqwest::Client,
    pub(super) newest_date: NewestDate,
}

impl Wire {
    /// A pool with the configured time limits.
    pub(in crate::wechat) fn new(config: &config::Wechat) -> Result<Wire, ClientError> {
        let http = Wire::rules(config)?.build().map_err(|error| ClientError::Tls { why: error_text(&error) })?;
        Ok(Wire { http, newest_date: NewestDate::default() })
    }

    /// A pool that presents a client certificate.
    fn with_certificate(config: &config::Wechat, certificate: &MerchantCertificate) -> Result<Wire, ClientError> {
        let (rules, pem) = (Wire::rules(config)?, certificate.to_pem());
        let identity = reqwest::Identity::from_pem(pem.expose().as_bytes());
        let http = identity.and_then(|identity| rules.identity(identity).build());
        let wire = |http| Wire { http, newest_date: NewestDate::default() };
        http.map(wire).map_err(|error| ClientError::Certificate { why: error_text(&error) })
    }

    fn rules(config: &config::Wechat) -> Result<reqwest::ClientBuilder, ClientError> {
        Ok(reqwest::Client::builder()
            .user_agent(concat!("wxpay-worker/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            .tls_certs_merge(authorities(config)?)
            // WeChat changes the addresses behind its names; a pooled connection must not be kept much longer.
            .pool_idle_timeout(Duration::from_secs(60)))
    }

    /// Gets `path` of the host `base` with these query parameters, in this order.
    pub(in crate::wechat) async fn get(
        &self,
        base: &str,
        path: &str,
        query: &Query<'_>,
    ) -> Result<Vec<u8>, TransportError> {
        self.measured(path, self.http.get(address(base, path, query)?)).await
    }

    /// Posts `body` to `path` of the host `base`.
    pub(in crate::wechat) async fn post(
        &self,
        base: &str,
        path: &str,
        query: &Query<'_>,
        content_type: &'static str,
        body: String,
    ) -> Result<Vec<u8>, TransportError> {
        let request = self.http.post(address(base, path, query)?);
        self.measured(path, request.header(CONTENT_TYPE, HeaderValue::from_static(content_type)).body(body)).await
    }

    async fn measured(&self, path: &str, request: reqwest::RequestBuilder) -> Result<Vec<u8>, TransportError> {
        let started = Instant::now();
        let result = self.exchange(request).await;
        let outcome = match &result {
            Ok(_) => "answered",
            Err(error) => error.label(),
        };
        metrics::histogram!("wxpay_wechat_request_seconds", "api" => api_of(path).to_owned(), "outcome" => outcome)
            .record(started.elapsed());
        result
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, TransportError> {
        let mut response = request.send().await.map_err(transport)?;
        self.newest_date.note(response.headers().get(DATE).and_then(|date| date.to_str().ok()));
        let status = response.status().as_u16();
        if status != 200 {
            return Err(TransportError::Status { status });
        }
        let mut reply = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if reply.len() + chunk.len() > MAX_REPLY_BYTES {
                return Err(TransportError::TooLarge);
            }
            reply.extend_from_slice(&chunk);
        }
        Ok(reply)
    }
}

/// Names and values of a query, not yet encoded.
pub(in crate::wechat) type Query<'a> = [(&'a str, &'a str)];

pub(super) fn address(base: &str, path: &str, query: &Query<'_>) -> Result<reqwest::Url, TransportError> {
    let mut url = reqwest::Url::parse(&format!("{base}{path}"))
        .map_err(|_| TransportError::NotSent { why: "no usable address".to_owned() })?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

/// A connection pool to WeChat's pay hosts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    pub(super) wire: Wire,
    pub(super) hosts: PayHosts,
}

impl Client {
    /// A client without a certificate: everything but refunds.
    pub fn new(config: &config::Wechat) -> Result<Client, ClientError> {
        let backup = base("pay_backup_url", &config.pay_backup_url)?;
        Client::over(Wire::new(config)?, base("pay_url", &config.pay_url)?, backup)
    }

    /// A client that presents the merchant's certificate: for refunds (`/secapi/*`). If `refund_url` sets a host of its
    /// own, there is no backup host.
    pub fn with_certificate(config: &config::Wechat, certificate: &MerchantCertificate) -> Result<Client, ClientError> {
        let (main, backup) = match &config.refund_url {
            Some(url) => (base("refund_url", url)?, base("refund_url", url)?),
            None => (base("pay_url", &config.pay_url)?, base("pay_backup_url", &config.pay_backup_url)?),
        };
        Client::over(Wire::with_certificate(config, certificate)?, main, backup)
    }

    fn over(wire: Wire, main: String, backup: String) -> Result<Client, ClientError> {
        Ok(Client { wire, hosts: PayHosts::new(main, backup) })
    }

    /// With what `other` learns about the hosts, where they are the same: a host that hangs is found out once.
    #[must_use]
    pub fn sharing_hosts_with(self, other: &Client) -> Client {
        Client { hosts: self.hosts.sharing(&other.hosts), ..self }
    }

    /// Posts a message to `path` (`/pay/…`) and returns the reply. A host that has not answered after a second is not
    /// waited for alone: the message goes to the other one, too, and the first answer counts.
    ///
    /// When both hosts fail, the error is the less conclusive one: a timeout at the first host is not hidden by a
    /// refused connection or a refusing status at the second.
    pub async fn post_xml(&self, path: &str, body: String) -> Result<Reply, TransportError> {
        let (first, second) = self.hosts.in_order();
        let call = self.post_once(first, path, body.clone());
        tokio::pin!(call);
        let alone = |body| Reply { body, earlier_may_have_executed: false };
        let Some(second) = second else { return call.await.map(alone) };
        match tokio::time::timeout(SLOW, &mut call).await {
            Ok(Ok(body)) => Ok(alone(body)),
            Ok(Err(error)) if !error.is_worth_the_backup() => Err(error),
            Ok(Err(error)) => {
                self.hosts.doubt(first, &self.wire.http);
                tracing::warn!(api = api_of(path), %error, "a pay host did not answer, trying the other one");
                after(error, self.post_once(second, path, body).await)
            }
            Err(_) => {
                self.hosts.doubt(first, &self.wire.http);
                tracing::warn!(api = api_of(path), "a pay host has not answered yet, trying the other one as well");
                either(call, self.post_once(second, path, body)).await
            }
        }
    }

    /// Posts a message to one host alone and returns the body; after a failure the next call goes to the other one.
    pub async fn post_xml_once(&self, path: &str, body: String) -> Result<Vec<u8>, TransportError> {
        let (host, _) = self.hosts.in_order();
        self.post_once(host, path, body).await.inspect_err(|error| {
            if error.is_worth_the_backup() {
                self.hosts.doubt(host, &self.wire.http);
            }
        })
    }

    /// How far WeChat's clock and `clock` are apart by WeChat's newest answer, at most five minutes; none before it.
    pub fn clock_difference(&self, clock: &Clock) -> Option<Duration> {
        self.wire.newest_date.difference(clock)
    }

    async fn post_once(&self, base: &str, path: &str, body: String) -> Result<Vec<u8>, TransportError> {
        self.wire.post(base, path, &[], "text/xml; charset=utf-8", body).await
    }
}

/// What the second host's answer means after the first one failed.
fn after(first: TransportError, second: Result<Vec<u8>, TransportError>) -> Result<Reply, TransportError> {
    match second {
        Ok(body) => Ok(Reply { body, earlier_may_have_executed: first.may_have_executed() }),
        Err(TransportError::NotSent { .. }) => Err(first),
        Err(second) if first.may_have_executed() && !second.may_have_executed() => Err(first),
        Err(second) => Err(second),
    }
}

/// The first answer of two hosts that were both sent the message: whichever it is, the other may have executed it.
async fn either(
    mut first: Pin<&mut impl Future<Output = Result<Vec<u8>, TransportError>>>,
    second: impl Future<Output = Result<Vec<u8>, TransportError>>,
) -> Result<Reply, TransportError> {
    tokio::pin!(second);
    let answer = |body| Reply { body, earlier_may_have_executed: true };
    tokio::select! {
        result = &mut first => match result {
            Ok(body) => Ok(answer(body)),
            Err(error) => after(error, second.await),
        },
        result = &mut second => match result {
            Ok(body) => Ok(answer(body)),
            Err(error) => match first.await {
                Ok(body) => Ok(answer(body)),
                Err(first) => after(first, Err(error)),
            },
        },
    }
}

/// Certificate authorities trusted in addition to the public ones.
fn authorities(config: &config::Wechat) -> Result<Vec<reqwest::Certificate>, ClientError> {
    let Some(file) = &config.pay_ca_file else { return Ok(Vec::new()) };
    let unusable = |why: String| ClientError::Authority { why };
    let pem = std::fs::read(file).map_err(|error| unusable(format!("{}: {error}", file.display())))?;
    let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| unusable(error_text(&error)))?;
    if authorities.is_empty() {
        return Err(unusable(format!("{} holds no certificate", file.display())));
    }
    Ok(authorities)
}

/// `unifiedorder` of `/pay/unifiedorder`: the label of metrics and logs.
pub(in crate::wechat) fn api_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

pub(in crate::wechat) fn base(key: &'static str, text: &str) -> Result<String, ClientError> {
    let url = reqwest::Url::parse(text).map_err(|_| ClientError::Address { key })?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !plain {
        return Err(ClientError::Address { key });
    }
    Ok(text.trim_end_matches('/').to_owned())
}
