//! Connecting to NATS, and checking what its servers guarantee before money depends on them.

use std::time::Duration;

use async_nats::{ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;

use super::varz;
use super::varz::Varz;
use crate::bus::types::{ConnectError, Report, Sync};
use crate::config;
use crate::config::NatsServers;

/// The first version that can sync before it acknowledges.
const FIRST_DURABLE: (u64, u64) = (2, 10);

/// Connects; the receiver's number changes with every connection made afterwards.
pub(super) async fn connect(
    settings: &config::Bus,
) -> Result<(async_nats::Client, watch::Receiver<u64>), ConnectError> {
    // The address may hold a password, so it is not repeated.
    let unusable = || ConnectError::Setting {
        key: "url",
        mend: "give \"embedded:\" or addresses like nats://host:4222, separated by commas".into(),
    };
    let NatsServers { addresses, password, token } = settings.nats().ok_or_else(unusable)?;
    let servers: Vec<ServerAddr> =
        addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>().map_err(|_| unusable())?;
    let (made, mut connections) = watch::channel(0);
    let mut options = ConnectOptions::new()
        .name("wxpay-worker")
        .connection_timeout(Duration::from_secs(3))
        .request_timeout(Some(crate::bus::PUBLISH_TIMEOUT))
        // A cut without a reset shows after two of these.
        .ping_interval(Duration::from_secs(5))
        .client_capacity(16 * 1024)
        .reconnect_delay_callback(|attempt| Duration::from_millis(50u64 << attempt.min(5)))
        .event_callback(move |event| {
            let made = made.clone();
            async move {
                match event {
                    Event::Connected => {
                        tracing::info!("connected to NATS");
                        made.send_modify(|count| *count += 1);
                    }
                    other => tracing::warn!(event = %other, "NATS connection"),
                }
            }
        });
    // A file of credentials is used instead of what the addresses hold. Of password and token, a server takes its own.
    if let Some((user, password)) = password.filter(|_| settings.credentials_file.is_none()) {
        options = options.user_and_password(user, password.expose().to_owned());
    }
    if let Some(token) = token.filter(|_| settings.credentials_file.is_none()) {
        options = options.token(token.expose().to_owned());
    }
    if let Some(file) = &settings.credentials_file {
        options = options.credentials_file(file).await.map_err(|e| ConnectError::Setting {
            key: "credentials_file",
            mend: format!("{} cannot be used: {e}", file.display()),
        })?;
    }
    if let Some(file) = &settings.tls_ca_file {
        options = options.add_root_certificates(file.clone()).require_tls(true);
    }
    let client = options.connect(servers).await.map_err(|e| ConnectError::Unreachable(e.kind().to_string()))?;
    // The first connection's event comes by another task. Seen later, it would be mistaken for a reconnection.
    let first = tokio::time::timeout(Duration::from_secs(3), connections.wait_for(|count| *count > 0)).await;
    first.ok().and_then(Result::ok).ok_or_else(|| ConnectError::Unreachable("the connection did not last".into()))?;
    Ok((client, connections))
}

/// Reads the servers' versions and sync settings; refuses what `require_fsync` forbids.
pub(super) async fn inspect(settings: &config::Bus, client: &async_nats::Client) -> Result<Report, ConnectError> {
    let info = client.server_info();
    let (mut reports, mut silent) = (Vec::new(), Vec::new());
    for url in &settings.monitoring_urls {
        match varz::fetch(url).await {
            Ok(varz) => reports.push((url.as_str(), varz)),
            Err(why) => silent.push(ConnectError::Setting {
                key: "monitoring_urls",
                mend: format!(
                    "{url} does not answer as a NATS monitoring address ({why}); set http_port in the server's \
                     configuration and list it here"
                ),
            }),
        }
    }
    // While one server of a cluster is down, a service that has to start again must be able to. It is asked again
    // later; a stream's only copy may be on it, and so may the connection itself.
    let enough_reports = settings.replicas > 1
        && reports.len() > settings.monitoring_urls.len() / 2
        && reports.iter().any(|(_, v)| v.server_id == info.server_id);
    if settings.require_fsync && !enough_reports && !silent.is_empty() {
        return Err(silent.swap_remove(0));
    }
    let versions = reports.iter().map(|(_, v)| v.version.as_str()).chain([info.version.as_str()]);
    let version = versions.min_by_key(|v| version(v)).unwrap_or_default().to_owned();
    let mut report = Report {
        kind: "nats",
        sync: weakest(&reports),
        replicas: settings.replicas,
        atomic_batches: false,
        warnings: silent.iter().map(ToString::to_string).collect(),
        version: Some(version.clone()),
    };
    let mut objections = objections(settings, &info.server_id, &reports, silent.len());
    if self::version(&version) < FIRST_DURABLE {
        objections.insert(0, ConnectError::TooOld { found: version });
    }
    if settings.require_fsync {
        return objections.into_iter().next().map_or(Ok(report), Err);
    }
    for objection in objections {
        report.warnings.push(objection.to_string());
    }
    Ok(report)
}

/// Asks the servers again what [`inspect`] asked at the start; what contradicts `require_fsync` is the result. A server
/// that does not answer contradicts nothing.
pub(super) async fn inspect_again(settings: &config::Bus, client: &async_nats::Client) -> Result<(), ConnectError> {
    match inspect(settings, client).await {
        Err(e @ (ConnectError::NotDurable(_) | ConnectError::TooOld { .. })) => Err(e),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Problems with what the servers reported; `silent` further servers are known by name but did not report.
fn objections(
    settings: &config::Bus,
    connected_to: &str,
    reports: &[(&str, Varz)],
    silent: usize,
) -> Vec<ConnectError> {
    const MEND: &str = "set `jetstream { sync_interval: always }` in the server's configuration, or \
                        bus.require_fsync = false and accept that a power cut loses messages";
    let mut found = Vec::new();
    let distinct: std::collections::HashSet<&str> = reports.iter().map(|(_, v)| v.server_id.as_str()).collect();
    if reports.is_empty() {
        found.push(ConnectError::NotDurable(
            "whether the NATS servers sync before they acknowledge is not known; list their monitoring addresses in \
             bus.monitoring_urls, or set bus.require_fsync = false"
                .into(),
        ));
    } else if distinct.len() + silent < settings.replicas {
        found.push(ConnectError::NotDurable(format!(
            "bus.monitoring_urls names {} of {} NATS servers; name every server that may hold a copy",
            distinct.len() + silent,
            settings.replicas
        )));
    } else if !distinct.contains(connected_to) {
        found.push(ConnectError::NotDurable(
            "bus.monitoring_urls lists other NATS servers than that of bus.url; list every server of the cluster"
                .into(),
        ));
    }
    for (url, varz) in reports {
        if varz.sync != Sync::Always {
            found.push(ConnectError::NotDurable(format!("the NATS server at {url} syncs {}; {MEND}", varz.sync)));
        }
    }
    found
}

fn weakest(reports: &[(&str, Varz)]) -> Sync {
    let rank = |sync: &Sync| match sync {
        Sync::Unknown => Duration::MAX,
        Sync::Every(interval) => *interval,
        Sync::Always => Duration::ZERO,
    };
    reports.iter().map(|(_, v)| v.sync).max_by_key(rank).unwrap_or(Sync::Unknown)
}

/// Major and minor number; what cannot be read counts as oldest.
pub(super) fn version(text: &str) -> (u64, u64) {
    let mut parts = text.trim_start_matches('v').split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}
