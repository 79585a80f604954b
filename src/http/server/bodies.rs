//! The bodies that all listeners of a process hold.
//!
//! What must stay true: requests other than notifications leave a quarter to notifications, and notifications leave a
//! quarter to the others where these have a listener of their own; a client has its part of all listeners together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bodies that all listeners hold at once, in KiB: with heads and buffers of ten thousand connections below half a
/// gigabyte.
const ALL_KIB: usize = 64 * 1024;
/// What one kind of requests leaves to the other: one part of so many.
const LEFT: usize = 4;
/// What a client may have of all: one part of so many. True bodies have a few KiB.
const OF_CLIENT: usize = 16;
/// The same of bodies at the notifications' addresses, which ask for no key: those who fill them must be many.
const OF_NOTIFYING_CLIENT: usize = 64;

/// What a request is, as far as shares go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Notification,
    /// Whether the process is alive or ready: always answered.
    Health,
    Other,
}

/// Shared by the listeners.
#[derive(Debug, Clone, Default)]
pub struct Bodies {
    held: Arc<Mutex<Held>>,
    /// Whether notifications have a listener of their own.
    is_apart: bool,
}

#[derive(Debug, Default)]
struct Held {
    notifications: usize,
    others: usize,
    clients: HashMap<IpAddr, usize>,
}

impl Bodies {
    /// Where notifications have a listener of their own, or not.
    pub fn new(is_apart: bool) -> Bodies {
        Bodies { is_apart, ..Bodies::default() }
    }

    /// Takes room for a client's body, unless others have it.
    pub fn take(&self, client: IpAddr, kind: Kind, kib: usize) -> bool {
        if kib == 0 {
            return true;
        }
        let (is_notification, left) = (kind == Kind::Notification, ALL_KIB / LEFT);
        let most = if is_notification && !self.is_apart { ALL_KIB } else { ALL_KIB - left };
        let of_client = ALL_KIB / if is_notification { OF_NOTIFYING_CLIENT } else { OF_CLIENT };
        let mut held = self.lock();
        let has = held.clients.get(&client).copied().unwrap_or_default();
        let of_kind = if is_notification { held.notifications } else { held.others };
        if has + kib > of_client || of_kind + kib > most || held.notifications + held.others + kib > ALL_KIB {
            return false;
        }
        *held.of(kind) += kib;
        *held.clients.entry(client).or_default() += kib;
        true
    }

    pub fn give_back(&self, client: IpAddr, kind: Kind, kib: usize) {
        if kib == 0 {
            return;
        }
        let mut held = self.lock();
        let of_kind = held.of(kind);
        *of_kind = of_kind.saturating_sub(kib);
        // A client who holds nothing any more is forgotten.
        if let Some(has) = held.clients.get_mut(&client) {
            *has = has.saturating_sub(kib);
            if *has == 0 {
                held.clients.remove(&client);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn of(&mut self, kind: Kind) -> &mut usize {
        if kind == Kind::Notification { &mut self.notifications } else { &mut self.others }
    }
}
