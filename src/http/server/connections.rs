//! Who may have how many connections, requests under way and bodies, so that no client takes them all.
//!
//! What must stay true: one network never has more than its share; a connection on which nothing happens gives way to a
//! new one; requests other than notifications leave a quarter of all for notifications.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use metrics::counter;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Phase;
use crate::http::network::network;
use crate::telemetry::CONNECTIONS_REFUSED_TOTAL;

/// Bodies that are held at once, in KiB: with heads and buffers of ten thousand connections below half a gigabyte.
const BODIES_KIB: usize = 64 * 1024;
/// A network, and all requests but notifications, leave so much of bodies to others: one part of four.
const LEFT_TO_OTHERS: usize = 4;
/// When a place is needed, so many of those that wait longest give way at once: comparing all of them is not free.
const AT_ONCE: usize = 64;

/// How many there may be.
#[derive(Debug, Clone)]
pub struct Shares {
    /// Connections.
    pub connections: usize,
    /// Of one network.
    pub per_network: usize,
    /// Whose connections are not counted by network: they are many clients'.
    pub proxies: Vec<IpNet>,
}

/// All connections of a listener.
pub struct Connections {
    shares: Shares,
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
    bodies_kib: usize,
}

struct Entry {
    network: Option<IpAddr>,
    phase: Phase,
    give_way: CancellationToken,
}

#[derive(Default)]
struct Used {
    connections: usize,
    bodies_kib: usize,
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
    pub fn new(shares: Shares) -> Arc<Connections> {
        Arc::new(Connections { shares, state: Mutex::default(), left: Notify::new() })
    }

    /// A place for a new connection, if need be instead of one that has waited longest for a request.
    pub fn enter(self: &Arc<Connections>, remote: IpAddr, phase: &Phase) -> Result<Place, NoPlace> {
        let is_proxy = self.shares.proxies.iter().any(|net| net.contains(&remote.to_canonical()));
        let network = (!is_proxy).then(|| network(remote));
        let mut state = self.lock();
        if let Some(network) = network
            && state.networks.get(&network).is_some_and(|used| used.connections >= self.shares.per_network)
            && !state.make_room(1, Some(network))
        {
            count("network");
            return Err(NoPlace::Network);
        }
        if state.all.len() >= self.shares.connections
            && !state.make_room(AT_ONCE.min(self.shares.connections / 16 + 1), None)
        {
            return Err(NoPlace::Anywhere);
        }
        let id = state.next;
        state.next += 1;
        let give_way = CancellationToken::new();
        state.all.insert(id, Entry { network, phase: phase.clone(), give_way: give_way.clone() });
        if let Some(network) = network {
            state.networks.entry(network).or_default().connections += 1;
        }
        Ok(Place { connections: Arc::clone(self), id, network, give_way })
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
    /// Ends those that wait longest for a request, of this network or of all; whether there was one.
    fn make_room(&mut self, count: usize, of: Option<IpAddr>) -> bool {
        let among = self.all.iter().filter(|(_, entry)| of.is_none() || entry.network == of);
        let mut waiting: Vec<(Instant, u64)> =
            among.filter_map(|(id, entry)| Some((entry.phase.waits_since()?, *id))).collect();
        if waiting.is_empty() {
            return false;
        }
        let count = count.min(waiting.len());
        waiting.select_nth_unstable(count - 1);
        for (_, id) in waiting.drain(..count) {
            self.remove(id).inspect(|entry| entry.give_way.cancel());
            counter!(CONNECTIONS_REFUSED_TOTAL, "reason" => "gave_way").increment(1);
        }
        true
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
        if used.connections == 0 && used.bodies_kib == 0 {
            self.networks.remove(&network);
        }
    }
}

/// A connection's place; it ends with it.
pub struct Place {
    connections: Arc<Connections>,
    id: u64,
    network: Option<IpAddr>,
    give_way: CancellationToken,
}

impl Place {
    /// Cancelled when another connection needs the place.
    pub fn give_way(&self) -> CancellationToken {
        self.give_way.clone()
    }

    /// Room for a request under way whose body has at most so many bytes; none while others have it.
    pub fn request(&self, is_notification: bool, body_bytes: usize) -> Option<Under> {
        let kib = body_bytes.div_ceil(1024);
        let of_all = if is_notification { BODIES_KIB } else { BODIES_KIB - BODIES_KIB / LEFT_TO_OTHERS };
        let of_network = BODIES_KIB / LEFT_TO_OTHERS;
        let requests = self.connections.shares.connections;
        let requests = requests - requests / LEFT_TO_OTHERS;
        let mut state = self.connections.lock();
        let others = state.others + usize::from(!is_notification);
        let mut used = self.network.and_then(|network| state.networks.get(&network)).map_or(0, |used| used.bodies_kib);
        used += kib;
        let is_too_much = kib > 0 && (state.bodies_kib + kib > of_all || (self.network.is_some() && used > of_network));
        if others > requests || is_too_much {
            count(if is_too_much { "bodies" } else { "requests" });
            return None;
        }
        state.others = others;
        state.bodies_kib += kib;
        if let Some(network) = self.network {
            state.change(network, |used| used.bodies_kib += kib);
        }
        let connections = Arc::clone(&self.connections);
        Some(Under { connections, network: self.network, is_notification, kib })
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
    network: Option<IpAddr>,
    is_notification: bool,
    kib: usize,
}

impl Drop for Under {
    fn drop(&mut self) {
        let mut state = self.connections.lock();
        state.others -= usize::from(!self.is_notification);
        state.bodies_kib -= self.kib;
        if let Some(network) = self.network {
            state.change(network, |used| used.bodies_kib -= self.kib);
        }
    }
}

fn count(reason: &'static str) {
    counter!(CONNECTIONS_REFUSED_TOTAL, "reason" => reason).increment(1);
}
