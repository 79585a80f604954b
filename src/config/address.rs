//! Addresses: sockets, networks, URLs. Checks their shape and says who could reach them; never connects.
//!
//! No message quotes a URL: one typed into the wrong key may hold a password.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use lettre::message::Mailbox;
use url::{Host, Url, form_urlencoded};

use super::{Bus, Server, Store, Wechat};
use crate::secret::Secret;

/// The folder beside the configuration file where a simulator keeps what it makes: certificates and its journal.
pub const SANDBOX_FOLDER: &str = "sandbox";

/// An address to listen on.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an IP address and a port, like 127.0.0.1:8080 or [::1]:8080".into())
}

/// A network in CIDR notation, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let one = || text.parse::<IpAddr>().map(IpNet::from);
    let net: IpNet =
        text.parse().or_else(|_| one()).map_err(|_| "must be a network like 10.0.0.0/8, or one address")?;
    Ok(net.trunc())
}

/// A base to which a path is appended: http or https, perhaps with a path; without its trailing slash.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let url = web_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must have no query string and no fragment".into());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// An origin as browsers send it: scheme, host, perhaps a port.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let url = web_url(text)?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !plain || text.ends_with('/') {
        return Err("must be an origin like https://m.example.com, without a path or trailing slash".into());
    }
    Ok(url.origin().ascii_serialization())
}

/// A mail server: its host, its port, and whether TLS begins with STARTTLS. Without TLS there is none.
pub(super) fn smtp(text: &str) -> Result<(String, u16), String> {
    let rule = "must be smtps://HOST:465: TLS from the first byte on, without STARTTLS";
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "smtps").ok_or(rule)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must have no user and no password: smtp_username and smtp_password_file have them".into());
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(rule.into());
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(rule)?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, url.port().unwrap_or(465)))
}

/// Who mails are from: an address, perhaps with a name before it.
pub(super) fn mailbox(text: &str) -> Result<String, String> {
    let mailbox = text.parse::<Mailbox>().ok().filter(|mailbox| mailbox.email.to_string().is_ascii());
    match mailbox {
        Some(_) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("must be like wxpay@example.com or wxpay <wxpay@example.com>".into()),
    }
}

/// A domain that mails may go to.
pub(super) fn mail_domain(text: &str) -> Result<String, String> {
    let is_domain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let labels = text.split('.').all(|label| !label.is_empty());
    if is_domain && labels { Ok(text.to_ascii_lowercase()) } else { Err("must be a domain like example.com".into()) }
}

/// Where a simulator listens. Its listener with TLS is another one.
pub(super) fn sandbox(text: &str) -> Result<String, String> {
    let url = origin(text)?;
    if is_wechat(&url) {
        return Err("is WeChat itself: leave it empty".into());
    }
    if !url.starts_with("http://") {
        return Err("must be http://HOST:PORT, where wxpay-sandbox listens".into());
    }
    Ok(url)
}

/// The same host over TLS at the next port: where `wxpay-sandbox` takes refunds unless it is configured otherwise.
pub(super) fn next_port_over_tls(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    let port = url.port_or_known_default()?.checked_add(1)?;
    Some(format!("https://{}:{port}", url.host_str()?))
}

fn web_url(text: &str) -> Result<Url, String> {
    // The parser would repair blanks, backslashes and other alphabets; what WeChat receives must be what was
    // configured.
    if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err("must be a URL of plain ASCII without blanks or backslashes".into());
    }
    let url = Url::parse(text).map_err(|_| "must be a URL like https://pay.example.com")?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("must be an http:// or https:// URL with a host".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user name or password".into());
    }
    Ok(url)
}

/// A database: a SQLite file or PostgreSQL.
pub(super) fn store_url(text: &str) -> Result<(), String> {
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.is_empty() || path.starts_with('?') {
            Err("names no file: sqlite://data/wxpay.db".into())
        } else if path.contains(":memory:") || path.contains("mode=memory") {
            Err("would forget every order at the end of the process: name a file, like sqlite://data/wxpay.db".into())
        } else {
            Ok(())
        };
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => Ok(()),
        Ok(_) | Err(_) => Err("must be sqlite://PATH or postgres://USER:PASSWORD@HOST/DATABASE".into()),
    }
}

/// The owner's address of the database: PostgreSQL alone has roles.
pub(super) fn owner_url(text: &str) -> Result<(), String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => Ok(()),
        Ok(_) | Err(_) => Err("must be postgres://OWNER:PASSWORD@HOST/DATABASE: SQLite has no roles".into()),
    }
}

/// Whether two addresses of PostgreSQL name one role.
pub(super) fn same_role(a: &str, b: &str) -> bool {
    let role = |text| Url::parse(text).map(|url| url.username().to_owned());
    matches!((role(a), role(b)), (Ok(a), Ok(b)) if a == b)
}

/// Whether an address of PostgreSQL goes over the internet to a server whose certificate is not checked.
pub(super) fn is_unverified_postgres(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let last = |names: [&str; 2]| {
        let named = url.query_pairs().filter(|(name, _)| names.contains(&name.as_ref()));
        named.last().map(|(_, value)| value.into_owned())
    };
    let is_checked = last(["sslmode", "ssl-mode"]).is_some_and(|mode| matches!(&*mode, "verify-ca" | "verify-full"));
    let host = last(["host", "hostaddr"]).or_else(|| url.host_str().map(str::to_owned)).unwrap_or_default();
    !is_checked && is_public(&format!("http://{host}"))
}

/// Whether one of the servers is called over the internet without TLS, or without a checked certificate. With an
/// authority of its own the client calls all of them over TLS.
pub(super) fn is_unverified_nats(text: &str, has_authority: bool) -> bool {
    let Ok(servers) = nats_servers(text) else { return false };
    let is_public_server = |address: &str| {
        let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
        is_public(&format!("http://{rest}"))
    };
    !has_authority && servers.addresses.iter().any(|a| !a.starts_with("tls://") && is_public_server(a))
}

/// The queue: embedded, or the servers of one NATS cluster. Whether it is NATS.
pub(super) fn bus_url(text: &str) -> Result<bool, String> {
    if text == "embedded:" {
        return Ok(false);
    }
    nats_servers(text).map(|_| true)
}

/// A URL as it may be shown: what could be a user name, password or token is `***`.
pub(super) fn masked(text: &str) -> String {
    let parts: Vec<&str> = text.split(',').collect();
    // A comma inside a password would leave its first half in a part of its own, without the `@` that gives it away.
    if parts.len() > 1 && parts.iter().all(|part| part.contains("://")) {
        let masked: Vec<String> = parts.iter().map(|part| masked(part)).collect();
        return masked.join(",");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return if text == "embedded:" { text.to_owned() } else { "***".to_owned() };
    };
    let (rest, query) = match rest.split_once('?') {
        Some((_, query)) if query.contains('@') => return format!("{scheme}://***"),
        Some((rest, _)) => (rest, "?***"),
        None => (rest, ""),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{query}"),
        None => format!("{scheme}://{rest}{query}"),
    }
}

/// Whether a checked URL goes over the internet without encryption.
pub(super) fn is_open_to_eavesdroppers(url: &str) -> bool {
    url.starts_with("http://") && is_public(url)
}

/// Whether a checked URL's host is one that the internet could reach: no address or name of the inside.
pub(super) fn is_public(url: &str) -> bool {
    const INSIDE: [&str; 9] =
        [".localhost", ".local", ".internal", ".test", ".example", ".invalid", ".lan", ".home.arpa", ".svc"];
    let Ok(url) = Url::parse(url) else { return false };
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            name.contains('.') && !INSIDE.iter().any(|end| name.ends_with(end))
        }
        Some(Host::Ipv4(ip)) => is_public_address(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => is_public_address(IpAddr::V6(ip)),
        None => false,
    }
}

/// Whether the internet could reach an address.
pub fn is_public_address(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()),
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local())
        }
    }
}

/// Whether two checked URLs are of one host, on whatever port: cookies do not tell ports apart.
pub(super) fn same_host(a: &str, b: &str) -> bool {
    let host = |text| Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned));
    host(a).is_some() && host(a) == host(b)
}

/// Whether a checked URL's host is WeChat's own.
pub(super) fn is_wechat(url: &str) -> bool {
    let host = Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
    host == "weixin.qq.com" || host.ends_with(".weixin.qq.com")
}

/// An address of `[wechat]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WechatHost {
    /// Its key, like `pay_url`.
    pub key: &'static str,
    /// Whether it is WeChat's own; otherwise it is a simulator or a proxy.
    pub is_wechats: bool,
}

impl Wechat {
    /// Where the simulator of `sandbox_url` can listen, when that is an address of a host or this host.
    pub fn sandbox_address(&self) -> Option<SocketAddr> {
        let url = Url::parse(self.sandbox_url.as_deref()?).ok()?;
        let ip = match url.host()? {
            Host::Domain("localhost") => IpAddr::from([127, 0, 0, 1]),
            Host::Domain(_) => return None,
            Host::Ipv4(ip) => IpAddr::V4(ip),
            Host::Ipv6(ip) => IpAddr::V6(ip),
        };
        Some(SocketAddr::new(ip, url.port_or_known_default()?))
    }

    /// Every address that is called.
    pub fn hosts(&self) -> Vec<WechatHost> {
        let all = [
            ("pay_url", Some(&self.pay_url)),
            ("pay_backup_url", Some(&self.pay_backup_url)),
            ("refund_url", self.refund_url.as_ref()),
            ("api_url", Some(&self.api_url)),
            ("open_url", Some(&self.open_url)),
        ];
        all.into_iter().filter_map(|(key, url)| Some(WechatHost { key, is_wechats: is_wechat(url?) })).collect()
    }
}

impl Server {
    /// Name and port of `public_url`.
    pub fn public_host(&self) -> Option<(String, u16)> {
        let url = Url::parse(&self.public_url).ok()?;
        let host = match url.host()? {
            Host::Domain(name) => name.to_owned(),
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        Some((host, url.port_or_known_default()?))
    }
}

impl Store {
    /// The file of SQLite; none with PostgreSQL.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        let path = self.url.expose().strip_prefix("sqlite:")?.trim_start_matches("//");
        Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
    }
}

/// The servers, without the login.
#[derive(Debug, Clone)]
pub struct NatsServers {
    /// `nats://HOST:4222` or `tls://…` each.
    pub addresses: Vec<String>,
    /// User and password for every one of them.
    pub password: Option<(String, Secret)>,
    /// The token for every one of them.
    pub token: Option<Secret>,
}

impl Bus {
    /// The servers of `url`, which was checked when the configuration was read.
    pub fn nats(&self) -> Option<NatsServers> {
        nats_servers(self.url.expose()).ok()
    }
}

/// Parses a list of servers. The client has one password and one token for all of them, so that a list cannot name two
/// of a kind. No text quotes it: it may hold a password.
fn nats_servers(text: &str) -> Result<NatsServers, String> {
    let mut servers = NatsServers { addresses: Vec::new(), password: None, token: None };
    for part in text.split(',') {
        let url = Url::parse(part.trim()).ok().filter(|url| matches!(url.scheme(), "nats" | "tls") && url.has_host());
        let mut url = url.ok_or("must be \"embedded:\" or nats://HOST:4222, several separated by commas")?;
        let name = percent_decoded(url.username())?;
        let same = match url.password().map(percent_decoded).transpose()? {
            None if name.is_empty() => true,
            None => servers.token.get_or_insert_with(|| Secret::new(name.as_str())).expose() == name,
            Some(password) => {
                let (user, known) =
                    servers.password.get_or_insert_with(|| (name.clone(), Secret::new(password.as_str())));
                *user == name && known.expose() == password
            }
        };
        if !same {
            return Err("names two logins of a kind: all servers of a list need the same one".into());
        }
        let without = url.set_username("").and_then(|()| url.set_password(None));
        without.map_err(|()| "must be addresses with a host")?;
        servers.addresses.push(url.into());
    }
    Ok(servers)
}

/// Percent-decodes a user, password or token.
fn percent_decoded(text: &str) -> Result<String, String> {
    let escaped = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let plain = form_urlencoded::parse(escaped.as_bytes()).next().map(|(text, _)| text.into_owned());
    match plain.unwrap_or_default() {
        unreadable if unreadable.contains(char::REPLACEMENT_CHARACTER) => {
            Err("has a login that is not UTF-8 when percent-decoded".into())
        }
        plain => Ok(plain),
    }
}
