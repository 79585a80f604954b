//! Events posted to the merchants' own addresses: the keys of `[webhooks]`.

use std::time::Duration;

use crate::config::address;
use crate::config::reader::Reader;
use crate::config::secrets::strong;
use crate::config::sections::{Smtp, Webhooks};
use crate::secret::Secret;

pub(in crate::config) fn webhooks(r: &mut Reader<'_>) -> Option<Webhooks> {
    let key = r.secret("key", "key_file", |text| strong(text, 32));
    let allow_http = r.flag("allow_http");
    let allow_networks = r.items("allow_networks", address::network);
    if allow_networks.iter().flatten().any(|net| net.prefix_len() == 0) {
        r.warning("allow_networks", "allows every address, this host's own among them");
    }
    let timeout = r.millis("timeout_ms", 100..=60_000);
    let endpoints_per_merchant = r.number("endpoints_per_merchant", 1..=100);
    let disable_after_h = r.number("disable_after_h", 24..=24 * 365);
    let smtp = smtp(r);
    Some(Webhooks {
        smtp: smtp?,
        key: key?,
        allow_http: allow_http?,
        allow_networks: allow_networks?,
        timeout: timeout?,
        endpoints_per_merchant: endpoints_per_merchant?.try_into().ok()?,
        disable_after: Duration::from_secs(disable_after_h?.unsigned_abs() * 3600),
    })
}

/// The server for mails.
fn smtp(r: &mut Reader<'_>) -> Option<Option<Smtp>> {
    let url = r.optional("smtp_url", address::smtp);
    let from = r.optional("smtp_from", address::mailbox);
    let user = r.optional("smtp_username", |text| Ok(text.to_owned()));
    let password = r.secret("smtp_password", "smtp_password_file", |text| Ok(Secret::new(text)));
    let ca_file = r.pem_file("smtp_ca_file", "-----BEGIN CERTIFICATE-----");
    let domains = r.items("mail_domains", address::mail_domain);
    let (url, from, user, password, ca_file, domains) = (url?, from?, user?, password?, ca_file?, domains?);
    let Some((host, port)) = url else { return Some(None) };
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        (Some(_), None) => {
            r.problem("smtp_password_file", "is missing: smtp_username is given".into());
            return None;
        }
        (None, Some(_)) => {
            r.problem("smtp_username", "is missing: smtp_password_file is given".into());
            return None;
        }
    };
    let Some(from) = from else {
        r.problem("smtp_from", "is missing: smtp_url is given".into());
        return None;
    };
    if domains.is_empty() {
        r.problem("mail_domains", "is missing: smtp_url is given, and mails go to these domains alone".into());
        return None;
    }
    Some(Some(Smtp { host, port, from, login, ca_file, domains }))
}
