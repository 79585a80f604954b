//! The secrets of one installation, and the files that hold them.

use super::kind::Kind;
use crate::config::CHANGE_ME;
use crate::secret::{random_text, sha256_hex};

/// The key that the shop's server is given, beside the hash that the configuration holds.
pub(super) struct ApiKey {
    pub key: String,
    pub hash: String,
}

impl ApiKey {
    pub fn new() -> ApiKey {
        let key = random_text(40);
        let hash = format!("sha256:{}", sha256_hex(key.as_bytes()));
        ApiKey { key, hash }
    }
}

/// Files beside the configuration, each with its content.
pub(super) fn secrets(kind: Kind) -> Vec<(&'static str, String)> {
    let own = |real: bool| if real { CHANGE_ME.to_owned() } else { random_text(32) };
    let mut files = vec![
        ("session.key", random_text(48)),
        ("webhooks.key", random_text(48)),
        ("payers.key", random_text(48)),
        ("main.v2key", own(kind.is_real())),
        ("shop.secret", own(kind.is_real())),
    ];
    if kind.is_real() {
        files.extend(["apiclient_cert.pem", "apiclient_key.pem"].map(|name| (name, CHANGE_ME.to_owned())));
    }
    if kind == Kind::NatsPostgres {
        let [service, owner, nats] = [(); 3].map(|()| random_text(40));
        files.push(("store_url", format!("postgres://wxpay_service:{service}@127.0.0.1:5432/wxpay")));
        files.push(("migrate_url", format!("postgres://wxpay_owner:{owner}@127.0.0.1:5432/wxpay")));
        files.push(("bus_url", format!("nats://wxpay:{nats}@127.0.0.1:4222")));
        files.push(("nats_auth", format!("authorization {{ user: wxpay, password: \"{nats}\" }}\n")));
    }
    files
}
