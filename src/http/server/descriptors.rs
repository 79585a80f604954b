//! File descriptors: connections must leave enough of them for the database, the bus and calls to WeChat.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config;

/// Left to the workers, beside the connections of the database's pool.
const RESERVED: u64 = 256;
/// Connections that are served however few files there are.
const LEAST: usize = 16;

/// Raises the soft limit of this process to the hard one, as servers do; how many files it may open now.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised,
        Err(_) => limit,
    };
    limit.current.unwrap_or(u64::MAX)
}

/// One part of so many connections is that of the notifications' own listener.
const OF_NOTIFICATIONS: usize = 4;

/// The settings of the public listener, and of the notifications' own where there is one: together they have as many
/// connections.
pub fn shared_with_notifications(settings: config::Server) -> (config::Server, Option<config::Server>) {
    if settings.notify_listen.is_none() {
        return (settings, None);
    }
    let own = (settings.max_connections / OF_NOTIFICATIONS).max(1);
    let rest = settings.max_connections.saturating_sub(own).max(1);
    let notify = config::Server { max_connections: own, ..settings.clone() };
    (config::Server { max_connections: rest, ..settings }, Some(notify))
}

/// The settings with no more connections than leave enough files to a process with so large a pool of the database's.
pub fn within_files(settings: &config::Server, pool: u32) -> config::Server {
    let left = raise_limit().saturating_sub(RESERVED + u64::from(pool));
    let served = usize::try_from(left).unwrap_or(usize::MAX).max(LEAST);
    if settings.max_connections > served {
        tracing::warn!(
            max_connections = settings.max_connections,
            served,
            "This process may open too few files for so many connections: raise its limit (ulimit -n, LimitNOFILE)"
        );
    }
    config::Server { max_connections: settings.max_connections.min(served), ..settings.clone() }
}
