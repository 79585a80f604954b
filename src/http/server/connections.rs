//! Who may have how many connections, requests under way and bodies, so that no client takes them all.
//!
//! What must stay true: one network never has more than its share; a connection on which nothing happens gives way to a
//! new one; requests other than notifications leave a quarter of all for notifications, of which a client has a small
//! part at most, also behind a proxy.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use metrics::counter;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bodies::{Bodies, Kind};
use super::connection::Phase;
use crate::config::ConfigHandle;
use crate::http::extract::client_addr::client_ip;
use crate::http::network::network;
use crate::telemetry::CONNECTIONS_REFUSED_TOTAL;

/// All requests but notifications leave one part of so many of the requests under way.
const LEFT_TO_NOTIFICATIONS: usize = 4;
/// When a place is needed, so many of those that wait longest give way at once: comparing all of them is not free.
const AT_ONCE: usize = 64;

/// How many there may be.
#[derive(Debug, Clone, Copy)]
pub struct Shares {
    /// Connections.
    pub connections: usize,
    /// Of one network.
    pub per_network: usize,
    /// Notifications of a client that may be under way.
    pub notifications: usize,
}

/// All connections of a listener.
pub struct Connections {
    /// Its name in metrics.
    listener: &'static str,
    shares: Shares,
    bodies: Bodies,
    /// Connections of trusted proxies are not counted by network: they are many clients'.
    in_force: ConfigHandle,
    state: Mutex<State>,
    left: Notify,
}

#[derive(Default)]
struct State {
    next: u64,
    all: HashMap<u64, Entry>,
    networks: HashMap<IpAddr, Used>,
    /// Requests under way that are no notifications.
    others: usize,
}

struct Entry {
    network: Option<IpAddr>,
    phase: Phase,
    give_way: CancellationToken,
}

#[derive(Default)]
struct Used {
    connections: usize,
    notifications: usize,
}

/// Why a connection has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoPlace {
    /// Its network has its share, and a request is under way on each.
    Network,
    /// On every connection a request is under way.
    Anywhere,
}

impl Connections {
    /// Of the listener of this name, which shares the room for bodies with the others.
    pub fn new(listener: &'static str, shares: Shares, bodies: Bodies, in_force: ConfigHandle) -> Arc<Connections> {
        Arc::new(Connections { listener, shares, bodies, in_force, state: Mutex::default(), left: Notify::new() })
    }

    fn count(&self, reason: &'static str, refused: u64) {
        counter!(CONNECTIONS_REFUSED_TOTAL, "listener" => self.listener, "reason" => reason).increment(refused);
    }

    /// A place for a new connection, if need be instead of one that has waited longest for a request.
    pub fn enter(self: &Arc<Connections>, remote: IpAddr, phase: &Phase) -> Result<Place, NoPlace> {
        let config = self.in_force.snapshot();
        let is_proxy = config.server.trusted_proxies.iter().any(|net| net.contains(&remote.to_canonical()));
        let network = (!is_proxy).then(|| network(remote));
        let mut state = self.lock();
        if let Some(network) = network
            && state.networks.get(&network).is_some_and(|used| used.connections >= self.shares.per_network)
        {
            let gave_way = state.make_room(1, Some(network));
            self.count("gave_way", gave_way);
            if gave_way == 0 {
                self.count("network", 1);
                return Err(NoPlace::Network);
            }
        }
        if state.all.len() >= self.shares.connections {
            let gave_way = state.make_room(AT_ONCE.min(self.shares.connections / 16 + 1), None);
            self.count("gave_way", gave_way);
            if gave_way == 0 {
                return Err(NoPlace::Anywhere);
            }
        }
        let id = state.next;
        state.next += 1;
        let give_way = CancellationToken::new();
        state.all.insert(id, Entry { network, phase: phase.clone(), give_way: give_way.clone() });
        if let Some(network) = network {
            state.networks.entry(network).or_default().connections += 1;
        }
        Ok(Place { connections: Arc::clone(self), id, give_way })
    }

    /// Returns when a connection has ended since the last call.
    pub async fn left(&self) {
        self.left.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends those that wait longest for a request, of this network or of all; answers how many.
    fn make_room(&mut self, count: usize, of: Option<IpAddr>) -> u64 {
        let among = self.all.iter().filter(|(_, entry)| of.is_none() || entry.network == of);
        let mut waiting: Vec<(Instant, u64)> =
            among.filter_map(|(id, entry)| Some((entry.phase.waits_since()?, *id))).collect();
        if waiting.is_empty() {
            return 0;
        }
        let count = count.min(waiting.len());
        waiting.select_nth_unstable(count - 1);
        for (_, id) in waiting.drain(..count) {
            self.remove(id).inspect(|entry| entry.give_way.cancel());
        }
        count as u64
    }

    fn remove(&mut self, id: u64) -> Option<Entry> {
        let entry = self.all.remove(&id)?;
        if let Some(network) = entry.network {
            self.change(network, |used| used.connections = used.connections.saturating_sub(1));
        }
        Some(entry)
    }

    /// Forgets a network that uses nothing any more.
    fn change(&mut self, network: IpAddr, change: impl FnOnce(&mut Used)) {
        let used = self.networks.entry(network).or_default();
        change(used);
        if used.connections == 0 && used.notifications == 0 {
            self.networks.remove(&network);
        }
    }
}

/// A connection's place; it ends with it.
pub struct Place {
    connections: Arc<Connections>,
    id: u64,
    give_way: CancellationToken,
}

impl Place {
    /// Cancelled when another connection needs the place.
    pub fn give_way(&self) -> CancellationToken {
        self.give_way.clone()
    }

    /// Whose it is behind the proxies that are trusted.
    pub fn client(&self, remote: IpAddr, headers: &HeaderMap) -> IpAddr {
        network(client_ip(remote, headers, &self.connections.in_force.snapshot().server.trusted_proxies))
    }

    /// Room for a client's request under way, whose body has at most so many bytes; none while others have it.
    pub fn request(&self, client: IpAddr, kind: Kind, body_bytes: usize) -> Option<Under> {
        let (kib, all) = (body_bytes.div_ceil(1024), self.connections.shares.connections);
        let mut state = self.connections.lock();
        let notifications = state.networks.get(&client).map_or(0, |used| used.notifications);
        let refused = match kind {
            Kind::Health => false,
            Kind::Notification => notifications >= self.connections.shares.notifications,
            Kind::Other => state.others >= all - all / LEFT_TO_NOTIFICATIONS,
        };
        if refused {
            self.connections.count("requests", 1);
            return None;
        }
        if !self.connections.bodies.take(client, kind, kib) {
            self.connections.count("bodies", 1);
            return None;
        }
        state.others += usize::from(kind == Kind::Other);
        state.change(client, |used| used.notifications += usize::from(kind == Kind::Notification));
        Some(Under { connections: Arc::clone(&self.connections), client, kind, kib })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().remove(self.id);
        self.connections.left.notify_one();
    }
}

/// The room of a request that is under way.
pub struct Under {
    connections: Arc<Connections>,
    client: IpAddr,
    kind: Kind,
    kib: usize,
}

impl Drop for Under {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        state.others -= usize::from(self.kind == Kind::Other);
        self.connections.bodies.give_back(self.client, self.kind, self.kib);
        state.change(self.client, |used| used.notifications -= usize::from(self.kind == Kind::Notification));
    }
}
