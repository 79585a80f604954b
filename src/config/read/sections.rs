//! Each section's keys, types and bounds. One section at a time: what concerns several is in `validate`.
//!
//! Every function asks for all of its keys before it gives up on one (`?` stands only after the last question).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::hazards::plain_http;
use super::intake::{Intake, IntakeKind};
use crate::clock::Timestamp;
use crate::config::address;
use crate::config::api_key::{ApiKey, Merchants, Scope};
use crate::config::problem::nearest;
use crate::config::reader::Reader;
use crate::config::secrets::{is_pkcs12, key_hashes, varied};
use crate::config::sections::{App, AppKind, Bus, Log, Merchant, Orders, PreviousKey, Server, TokenApi};
use crate::ids::{AppId, AppKey, IdError, MchId, MerchantKey};
use crate::money::Fen;
use crate::order::{Policy, Surplus};
use crate::secret::{Secret, V2Key};
use crate::trade::SignType;

pub(in crate::config) fn server(r: &mut Reader<'_>) -> Option<Server> {
    let listen = r.required("listen", address::socket);
    let admin_listen = r.optional("admin_listen", address::socket);
    if let (Some(listen), Some(Some(admin))) = (listen, admin_listen)
        && listen == admin
        && listen.port() != 0
    {
        r.problem("admin_listen", "is the same as listen: leave it empty".into());
    }
    let notify_listen = r.optional("notify_listen", address::socket);
    if let (Some(listen), Some(admin), Some(Some(notify))) = (listen, admin_listen, notify_listen)
        && notify.port() != 0
        && (notify == listen || Some(notify) == admin)
    {
        r.problem(
            "notify_listen",
            "is the address of another listener: leave it empty, or give it a port of its own".into(),
        );
    }
    let public_url = r.required("public_url", address::base_url);
    plain_http(r, "public_url", public_url.as_slice());
    let trusted_proxies = r.items("trusted_proxies", address::network);
    if trusted_proxies.iter().flatten().any(|net| net.prefix_len() == 0) {
        r.hazard("trusted_proxies", "trusts the whole internet: every client can claim any address");
    }
    let max_connections = r.number("max_connections", 1..=1_000_000);
    let max_connections_per_address = r.number("max_connections_per_address", 0..=1_000_000);
    let header_timeout = r.millis("header_timeout_ms", 100..=60_000);
    let body_timeout = r.millis("body_timeout_ms", 100..=120_000);
    let idle_timeout = r.millis("idle_timeout_ms", 1_000..=3_600_000);
    let shutdown_timeout = r.millis("shutdown_timeout_ms", 1_000..=600_000);
    let order_wait = r.millis("order_wait_ms", 0..=60_000);
    let notify_ack_timeout = r.millis("notify_ack_timeout_ms", 100..=4_500);
    let intake = r.optional("intake", |text| match text {
        "direct" => Ok(IntakeKind::Direct),
        "log" => Ok(IntakeKind::Log),
        "spool" => Ok(IntakeKind::Spool),
        _ => Err("must be \"direct\", \"log\" or \"spool\"".to_owned()),
    });
    let intake_dir = r.optional("intake_dir", |text| Ok(PathBuf::from(text)));
    Some(Server {
        listen: listen?,
        admin_listen: admin_listen?,
        notify_listen: notify_listen?,
        public_url: public_url?,
        trusted_proxies: trusted_proxies?,
        max_connections: max_connections?.try_into().ok()?,
        max_connections_per_address: max_connections_per_address?.try_into().ok()?,
        header_timeout: header_timeout?,
        body_timeout: body_timeout?,
        idle_timeout: idle_timeout?,
        shutdown_timeout: shutdown_timeout?,
        order_wait: order_wait?,
        notify_ack_timeout: notify_ack_timeout?,
        intake: Intake { chosen: intake?, dir: intake_dir? },
    })
}

pub(in crate::config) fn bus(r: &mut Reader<'_>) -> Option<Bus> {
    let url = r.required_url("url", "url_file", |text| address::bus_url(text).map(|nats| (Secret::new(text), nats)));
    let replicas = r.number("replicas", 1..=5);
    if replicas.is_some_and(|n| n % 2 == 0) {
        r.problem("replicas", "must be 1, 3 or 5: an even number survives no more failures".into());
    }
    let credentials_file = r.path("credentials_file");
    let tls_ca_file = r.pem_file("tls_ca_file", "-----BEGIN CERTIFICATE-----");
    let allow_unverified_tls = r.flag("allow_unverified_tls");
    if let (Some((address, true)), Some(ca), Some(false)) = (&url, &tls_ca_file, allow_unverified_tls)
        && address::is_unverified_nats(address.expose(), ca.is_some())
    {
        let mend = "goes over the internet to a server whose certificate is not checked: write tls://HOST:4222 (with \
                    tls_ca_file where its authority is not a public one), or set bus.allow_unverified_tls = true";
        r.problem("url", mend.into());
    }
    let require_fsync = r.flag("require_fsync");
    let monitoring_urls = r.items("monitoring_urls", address::base_url);
    let max_bytes = r.number("max_bytes", 1_048_576..=i64::MAX);
    let ack_wait = r.millis("ack_wait_ms", 1_000..=120_000);
    let bundles = r.flag("bundles");
    let nats = matches!(url, Some((_, true)));
    if nats && require_fsync == Some(true) && monitoring_urls.as_ref().is_some_and(Vec::is_empty) {
        let mend = "is needed to see that NATS syncs before it acknowledges: add http://HOST:8222 of each server, \
                    or set bus.require_fsync = false and accept that a power cut may lose messages";
        r.problem("monitoring_urls", mend.into());
    }
    Some(Bus {
        url: url?.0,
        replicas: replicas?.try_into().ok()?,
        credentials_file: credentials_file?,
        tls_ca_file: tls_ca_file?,
        allow_unverified_tls: allow_unverified_tls?,
        require_fsync: require_fsync?,
        monitoring_urls: monitoring_urls?,
        max_bytes: max_bytes?,
        ack_wait: ack_wait?,
        bundles: bundles?,
    })
}

pub(in crate::config) fn orders(r: &mut Reader<'_>) -> Option<Orders> {
    // WeChat refuses an order that expires within a minute; beyond seven days its own closing is not known.
    let seconds = |n: i64| Duration::from_secs(n.unsigned_abs());
    let default_expiry = r.number("default_expiry_minutes", 2..=10_080).map(|minutes| seconds(minutes * 60));
    let paid_before_slack = r.number("paid_before_slack_s", 60..=86_400).map(seconds);
    let late_grace = r.number("late_grace_s", 0..=600).map(seconds);
    Some(Orders { default_expiry: default_expiry?, paid_before_slack: paid_before_slack?, late_grace: late_grace? })
}

pub(in crate::config) fn log(r: &mut Reader<'_>) -> Option<Log> {
    let json = r.flag("json");
    let filter = r.required("filter", |text| match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("must be levels by module, like info,wxpay_worker=debug".to_owned()),
    });
    Some(Log { json: json?, filter: filter? })
}

pub(in crate::config) fn app(r: &mut Reader<'_>) -> Option<App> {
    let key = r.required("key", |text| AppKey::parse(text).map_err(rule));
    let app_id = r.required("app_id", |text| AppId::parse(text).map_err(rule));
    let kinds = [
        ("official_account", AppKind::OfficialAccount),
        ("mini_program", AppKind::MiniProgram),
        ("mobile", AppKind::Mobile),
    ];
    let kind = r.required("kind", |text| choice(text, &kinds));
    let secret = r.secret("secret", "secret_file", |text| {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err("must be the app secret as WeChat shows it: exactly 32 letters or digits".into());
        }
        varied(text).map(|()| Secret::new(text))
    });
    let apis = [("stable", TokenApi::Stable), ("classic", TokenApi::Classic)];
    let token = r.or_default("token", "stable", |text| choice(text, &apis));
    Some(App { key: key?, app_id: app_id?, kind: kind?, secret: secret?, token: token? })
}

pub(in crate::config) fn merchant(r: &mut Reader<'_>) -> Option<Merchant> {
    let key = r.required("key", |text| MerchantKey::parse(text).map_err(rule));
    let mch_id = r.required("mch_id", |text| MchId::parse(text).map_err(rule));
    let apps = r.items("apps", |text| AppKey::parse(text).map_err(rule));
    if apps.as_ref().is_some_and(Vec::is_empty) {
        r.problem("apps", "is missing: name at least one key of [[apps]]".into());
    }
    let api = r.or_default("api", "v2", |text| match text {
        "v2" => Ok(()),
        "v3" => Err("v3 is not supported yet: set api = \"v2\" and give the merchant's APIv2 key".into()),
        _ => Err("must be v2".into()),
    });
    let sign_types = [SignType::HmacSha256, SignType::Md5].map(|sign_type| (sign_type.as_str(), sign_type));
    let sign_type = r.or_default("sign_type", "HMAC-SHA256", |text| choice(text, &sign_types));
    let v2_key = r.required_secret("v2_key", "v2_key_file", |text| {
        let key = V2Key::parse(text).map_err(|rule| format!("is not usable: {rule}"))?;
        varied(text).map(|()| key)
    });
    let v2_key_previous = previous_key(r, v2_key.as_ref());
    let client_cert_file = r.pem_file("client_cert_file", "-----BEGIN CERTIFICATE-----");
    let client_key_file = r.pem_file("client_key_file", "PRIVATE KEY-----");
    if let Some(Some(path)) = &client_key_file {
        r.warn_if_open("client_key_file", path);
    }
    match (r.has("client_cert_file"), r.has("client_key_file")) {
        (true, false) => {
            if matches!(&client_cert_file, Some(Some(path)) if !is_pkcs12(path)) {
                let mend = "is missing: client_cert_file is PEM and needs its key (a .p12 would hold both)";
                r.problem("client_key_file", mend.into());
            }
        }
        (false, true) => r.problem("client_cert_file", "is missing: client_key_file alone proves nothing".into()),
        (true, true) if matches!(&client_cert_file, Some(Some(path)) if is_pkcs12(path)) => {
            r.problem("client_key_file", "is not needed: the .p12 of client_cert_file holds the key".into());
        }
        (true, true) | (false, false) => {}
    }
    r.certificate(client_cert_file.as_ref(), client_key_file.as_ref(), mch_id.as_ref());
    api?;
    let policy = policy(r, matches!(client_cert_file, Some(None)));
    let settling = super::settling::settling(r, sign_type);
    let second_person = super::limits::of_merchant(r);
    let foreign = r.items("foreign", super::reconcile::prefix);
    let orders = r.per_second("orders_per_second", 500);
    let (queries, refunds) = (r.per_second("queries_per_second", 300), r.per_second("refunds_per_second", 150));
    Some(Merchant {
        key: key?,
        mch_id: mch_id?,
        apps: apps?,
        sign_type: sign_type?,
        v2_key: v2_key?,
        v2_key_previous: v2_key_previous?,
        policy: policy?,
        settling: settling?,
        second_person: second_person?,
        orders_per_second: orders?,
        queries_per_second: queries?,
        refunds_per_second: refunds?,
        foreign: foreign?,
        client_cert_file: client_cert_file?,
        client_key_file: client_key_file?,
    })
}

/// The key before a change at WeChat.
fn previous_key(r: &mut Reader<'_>, newest: Option<&V2Key>) -> Option<Option<PreviousKey>> {
    let previous = r.secret("v2_key_previous", "v2_key_previous_file", |text| {
        V2Key::parse(text).map_err(|rule| format!("is not usable: {rule}"))
    });
    let until = r.optional("v2_key_previous_until", |text| {
        Timestamp::parse_rfc3339(text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z".to_owned())
    });
    match (&previous, &until) {
        (Some(Some(_)), Some(None)) => {
            let mend = "is missing: give the time of the change at WeChat and 25 hours, in which WeChat may repeat \
                        what it signed with the previous key";
            r.problem("v2_key_previous_until", mend.into());
        }
        (Some(None), Some(Some(_))) => {
            r.problem("v2_key_previous", "is missing: v2_key_previous_until says it is there".into())
        }
        _ => {}
    }
    if let (Some(Some(previous)), Some(newest)) = (&previous, newest)
        && previous.fingerprint() == newest.fingerprint()
    {
        r.problem("v2_key_previous", "is the same as v2_key: it is the key before the change".into());
    }
    Some(previous?.zip(until?).map(|(key, until)| PreviousKey { key, until }))
}

/// What happens with money that comes late or twice.
fn policy(r: &mut Reader<'_>, without_certificate: bool) -> Option<Policy> {
    let surplus = [("accept", Surplus::Accept), ("refund", Surplus::Refund), ("hold", Surplus::Hold)];
    let paid_late = r.or_default("paid_late", "hold", |text| choice(text, &surplus));
    let paid_twice = r.or_default("paid_twice", "hold", |text| choice(text, &surplus));
    for (key, policy) in [("paid_late", paid_late), ("paid_twice", paid_twice)] {
        if policy == Some(Surplus::Refund) && without_certificate {
            let mend = "sends money back, for which WeChat wants the merchant's certificate: give client_cert_file";
            r.problem(key, mend.into());
        }
    }
    Some(Policy { paid_late: paid_late?, paid_twice: paid_twice?, ..Policy::default() })
}

/// `configured`: the keys of all merchants.
pub(in crate::config) fn api_key(r: &mut Reader<'_>, configured: &[&str]) -> Option<ApiKey> {
    let word = |text: &str| {
        if text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(text.to_owned())
        } else {
            Err("must be 1 to 64 visible ASCII characters".into())
        }
    };
    let name = r.required("name", word);
    let id = match &name {
        Some(name) => r.or_default("id", name, word),
        None => r.optional("id", word).flatten(),
    };
    let all: Vec<(&str, Scope)> = Scope::ALL.iter().map(|scope| (scope.as_str(), *scope)).collect();
    let scopes = r.items("scopes", |text| choice(text, &all));
    if scopes.as_ref().is_some_and(Vec::is_empty) {
        r.problem("scopes", "is missing: name at least one of orders, refunds, finance, ops, admin".into());
    }
    let merchants = seen_merchants(r, configured);
    let cap = match r.has("refund_cap_fen_per_day") {
        true => r.number("refund_cap_fen_per_day", 1..=i64::MAX / 4).map(|fen| Some(Fen::from_i64(fen))),
        false => Some(None),
    };
    let rate = match r.has("rate_limit_per_second") {
        true => r.number("rate_limit_per_second", 1..=ApiKey::RATE_MAX).map(|n| u32::try_from(n).ok()),
        false => Some(None),
    };
    // Last, because the hashes are tables of their own in the listing.
    let hashes = key_hashes(r);
    let (refund_cap_per_day, rate_limit_per_second) = (cap?, rate?);
    let id = id?;
    Some(ApiKey {
        name: name?,
        key_id: id.clone(),
        id,
        hashes: hashes?,
        scopes: scopes?,
        merchants: merchants?,
        refund_cap_per_day,
        rate_limit_per_second,
    })
}

/// `"all"`, a list, or the only merchant where there is no other.
fn seen_merchants(r: &mut Reader<'_>, configured: &[&str]) -> Option<Merchants> {
    if r.is_word("merchants", "all") {
        r.optional("merchants", |_| Ok(()))?;
        return Some(Merchants::All);
    }
    if !r.has("merchants") {
        if configured.len() > 1 {
            let mend = "is missing: several merchants are configured, so name those that this key may see, or \"all\"";
            r.problem("merchants", mend.into());
            return None;
        }
        let only = configured.iter().filter_map(|key| MerchantKey::parse(*key).ok());
        return Some(Merchants::Only(only.collect()));
    }
    let listed = r.items("merchants", |text| MerchantKey::parse(text).map_err(rule));
    if listed.as_ref().is_some_and(Vec::is_empty) {
        r.warning("merchants", "is empty: this key sees no merchant. Leave it out, name the merchants, or say \"all\"");
    }
    listed.map(Merchants::Only)
}

/// One of a few words.
fn choice<T: Copy>(text: &str, options: &[(&str, T)]) -> Result<T, String> {
    let by_name: BTreeMap<&str, T> = options.iter().copied().collect();
    if let Some(chosen) = by_name.get(text) {
        return Ok(*chosen);
    }
    let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
    let meant = nearest(text, names.iter().copied()).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    Err(format!("must be one of {}{meant}", names.join(", ")))
}

fn rule(error: IdError) -> String {
    format!("must be {}", error.rule)
}
