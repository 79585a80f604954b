//! Whom we call: the keys of `[wechat]`.
//!
//! `sandbox_url` stands for every host at once. What must stay true: no address of WeChat is in force beside it.

use std::path::PathBuf;

use super::hazards::plain_http;
use crate::config::address;
use crate::config::layers::Origin;
use crate::config::reader::Reader;
use crate::config::sections::Wechat;

/// Of WeChat, each with a default.
const HOSTS: [&str; 4] = ["pay_url", "pay_backup_url", "api_url", "open_url"];
const PEM: &str = "-----BEGIN CERTIFICATE-----";

/// Where the calls go.
struct Hosts {
    /// In the order of [`HOSTS`].
    urls: [String; 4],
    refund_url: Option<String>,
    pay_ca_file: Option<PathBuf>,
}

pub(in crate::config) fn wechat(r: &mut Reader<'_>) -> Option<Wechat> {
    let sandbox = r.optional("sandbox_url", address::sandbox);
    plain_http(r, "sandbox_url", sandbox.as_ref().and_then(Option::as_ref).map_or(&[], std::slice::from_ref));
    let hosts = match &sandbox {
        Some(Some(url)) => simulator(r, url),
        Some(None) | None => real(r),
    };
    let connect_timeout = r.millis("connect_timeout_ms", 100..=30_000);
    let timeout = r.millis("timeout_ms", 500..=60_000);
    if let (Some(connect), Some(whole)) = (connect_timeout, timeout)
        && connect > whole
    {
        r.problem("connect_timeout_ms", "must not be longer than timeout_ms, which includes it".into());
    }
    let Hosts { urls: [pay_url, pay_backup_url, api_url, open_url], refund_url, pay_ca_file } = hosts?;
    Some(Wechat {
        sandbox_url: sandbox?,
        pay_url,
        pay_backup_url,
        refund_url,
        pay_ca_file,
        api_url,
        open_url,
        connect_timeout: connect_timeout?,
        timeout: timeout?,
    })
}

/// Each host by its own key.
fn real(r: &mut Reader<'_>) -> Option<Hosts> {
    let [pay_url, pay_backup_url, api_url, open_url] = HOSTS.map(|key| {
        let url = r.required(key, address::base_url);
        plain_http(r, key, url.as_slice());
        url
    });
    let refund_url = refund_url(r);
    let pay_ca_file = r.pem_file("pay_ca_file", PEM);
    let urls = [pay_url?, pay_backup_url?, api_url?, open_url?];
    Some(Hosts { urls, refund_url: refund_url?, pay_ca_file: pay_ca_file? })
}

/// All of them one simulator's, and its own listener with TLS and its authority unless they are named.
fn simulator(r: &mut Reader<'_>, url: &str) -> Option<Hosts> {
    let mut is_alone = true;
    for key in HOSTS {
        match r.find(key) {
            Some(None | Some((_, Origin::Default))) => r.shown(key, format!("\"{url}\""), &Origin::Default),
            Some(Some(_)) => {
                let text = "is set beside sandbox_url, which points every host at the simulator: leave one of them out";
                r.problem(key, text.into());
                is_alone = false;
            }
            None => is_alone = false,
        }
    }
    let refund_url = if r.has("refund_url") {
        refund_url(r)
    } else {
        let url = address::next_port_over_tls(url);
        r.find("refund_url");
        match &url {
            Some(url) => r.shown("refund_url", format!("\"{url}\""), &Origin::Default),
            None => r.problem("sandbox_url", "leaves no port for the simulator's TLS: give refund_url".into()),
        }
        url.map(Some)
    };
    if matches!(&refund_url, Some(Some(refunds)) if address::is_wechat(refunds)) {
        r.problem("refund_url", "is WeChat's beside sandbox_url: refunds would move real money".into());
        is_alone = false;
    }
    let pay_ca_file = r.pem_file_or("pay_ca_file", &format!("{}/ca.pem", address::SANDBOX_FOLDER), PEM, || {
        "`wxpay-sandbox --config` with this file makes it, or name the ca.pem of the simulator".to_owned()
    });
    let urls = HOSTS.map(|_| url.to_owned());
    let hosts = Hosts { urls, refund_url: refund_url?, pay_ca_file: Some(pay_ca_file?) };
    is_alone.then_some(hosts)
}

fn refund_url(r: &mut Reader<'_>) -> Option<Option<String>> {
    let url = r.optional("refund_url", address::base_url);
    plain_http(r, "refund_url", url.as_ref().and_then(Option::as_ref).map_or(&[], std::slice::from_ref));
    url
}
