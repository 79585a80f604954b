//! Where an endpoint may be: on the internet, or in a network that `webhooks.allow_networks` opens.
//!
//! The check is a list of what is allowed, not of what is refused: of IPv6 only global unicast addresses, without those
//! that stand for an IPv4 address. The same rule holds for a literal of a URL and for what a name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};
use url::{Host, Url};

use crate::config;

/// The most addresses of one endpoint of mails.
pub const RECIPIENTS: usize = 10;
/// The longest address, in bytes.
pub const MAX_BYTES: usize = 2048;

/// Why nothing is sent to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("must be a URL like https://example.com/hooks of at most {MAX_BYTES} bytes")]
    Unreadable,
    #[error("must be https: webhooks.allow_http is false")]
    NotHttps,
    #[error("must have neither a user name nor a password")]
    UserInfo,
    #[error("must have no fragment")]
    Fragment,
    /// Private, loopback, link-local, metadata and the like.
    #[error("leads to an address that is not on the internet and not in webhooks.allow_networks")]
    Inside,
    #[error("has a name without an address")]
    NoAddress,
    #[error("must be a robot's address as WeCom shows it, with key and nothing else behind the question mark")]
    NoKey,
    #[error("must be like mailto:ops@example.com, with up to {RECIPIENTS} addresses between commas")]
    Mailto,
    #[error("cannot be mailed to: no mail server is configured (webhooks.smtp_url)")]
    NoMailServer,
    #[error("has an address whose domain is not among webhooks.mail_domains")]
    MailDomain,
    #[error("has no secret: there is nothing to rotate")]
    NoSecret,
    /// Its key would be stored and shown as any part of an address.
    #[error("is the address of a WeCom robot: format must be wecom")]
    Robot,
}

/// Parses an address and checks all of it that needs no lookup of its name. Other spellings of an IPv4 address
/// (decimal, octal, hexadecimal, short) are that address after parsing.
pub fn parse(text: &str, rules: &config::Webhooks) -> Result<Url, AddressError> {
    if text.len() > MAX_BYTES {
        return Err(AddressError::Unreadable);
    }
    let url = Url::parse(text).map_err(|_| AddressError::Unreadable)?;
    match url.scheme() {
        "https" => {}
        "http" if rules.allow_http => {}
        "http" => return Err(AddressError::NotHttps),
        _ => return Err(AddressError::Unreadable),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(AddressError::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(AddressError::Fragment);
    }
    let is_allowed = match url.host() {
        Some(Host::Ipv4(ip)) => is_allowed(IpAddr::V4(ip), &rules.allow_networks),
        Some(Host::Ipv6(ip)) => is_allowed(IpAddr::V6(ip), &rules.allow_networks),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            let is_this_host = name == "localhost" || name.ends_with(".localhost");
            !is_this_host || is_allowed(IpAddr::V4(Ipv4Addr::LOCALHOST), &rules.allow_networks)
        }
        None => return Err(AddressError::Unreadable),
    };
    if is_allowed { Ok(url) } else { Err(AddressError::Inside) }
}

/// Whether a connection may go to this address.
pub fn is_allowed(ip: IpAddr, networks: &[IpNet]) -> bool {
    let is_opened = |ip: IpAddr| networks.iter().any(|network| network.contains(&ip));
    match ip {
        IpAddr::V4(v4) => is_global_v4(v4) || is_opened(ip),
        // The connection would go to the IPv4 address.
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_opened(IpAddr::V4(v4)),
            None => is_global_v6(v6) || is_opened(ip),
        },
    }
}

/// Networks of IPv4 that are not on the internet: the special-purpose registry (RFC 6890 and its updates).
const NOT_GLOBAL: [([u8; 4], u8); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Shared address space of carriers; also the metadata of one provider.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local, with the metadata of most providers.
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 31, 196, 0], 24),
    ([192, 52, 193, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast, reserved, broadcast.
    ([224, 0, 0, 0], 3),
];

fn is_global_v4(ip: Ipv4Addr) -> bool {
    NOT_GLOBAL.iter().all(|(network, bits)| {
        Ipv4Net::new(Ipv4Addr::from(*network), *bits).is_ok_and(|network| !network.contains(&ip))
    })
}

/// Global unicast is 2000::/3; unique-local, link-local, multicast, mapped and NAT64 (64:ff9b::/96) lie outside of it.
fn is_global_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let is_unicast = a & 0xe000 == 0x2000;
    // Protocol assignments with Teredo, documentation (both ranges), and 6to4, which stands for an IPv4 address.
    let is_special = a == 0x2001 && (b < 0x0200 || b == 0x0db8) || a == 0x2002 || a == 0x3fff && b < 0x1000;
    is_unicast && !is_special
}
