//! Events posted to the merchants' own addresses: the keys of `[webhooks]`.

use std::time::Duration;

use crate::config::address;
use crate::config::reader::Reader;
use crate::config::secrets::strong;
use crate::config::sections::Webhooks;

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
    Some(Webhooks {
        key: key?,
        allow_http: allow_http?,
        allow_networks: allow_networks?,
        timeout: timeout?,
        endpoints_per_merchant: endpoints_per_merchant?.try_into().ok()?,
        disable_after: Duration::from_secs(disable_after_h?.unsigned_abs() * 3600),
    })
}
