//! Access_tokens and tickets: which are current, which still live, which are dead and why.
//!
//! Classic and stable tokens do not know of each other. A token is announced until `expires_at`; it may die before,
//! because a newer one replaced it. Dead ones are remembered for a while, because WeChat tells "expired" from "not the
//! latest".

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::random_text;

/// How many values are remembered.
const KEPT: usize = 10_000;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::sandbox) enum Kind {
    /// Of `/cgi-bin/token`.
    Classic,
    /// Of `/cgi-bin/stable_token`.
    Stable,
    /// A jsapi_ticket.
    Ticket,
}

struct Credential {
    appid: String,
    kind: Kind,
    expires_at: Timestamp,
    dies_at: Timestamp,
}

/// What a caller is given.
pub(in crate::sandbox) struct Issued {
    pub value: String,
    pub expires_in_s: u64,
}

/// Why an access_token does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Dead {
    /// It does not have the form of one.
    Malformed,
    /// It was never issued, or it was forgotten.
    Unknown,
    /// It reached the end of its own life.
    Expired,
    /// A newer one took its place, or it was killed.
    Replaced,
}

/// What is known of a value.
pub(in crate::sandbox) struct Known<'a> {
    pub appid: &'a str,
    pub alive: bool,
    pub expires_at: Timestamp,
}

pub(in crate::sandbox) struct TokenStore {
    lifetime: Duration,
    overlap: Duration,
    by_value: HashMap<String, Credential>,
    order: VecDeque<String>,
    current: HashMap<(String, Kind), String>,
}

impl TokenStore {
    pub fn new(lifetime_s: u32, overlap_s: u32) -> TokenStore {
        TokenStore {
            lifetime: Duration::from_secs(lifetime_s.into()),
            overlap: Duration::from_secs(overlap_s.into()),
            by_value: HashMap::new(),
            order: VecDeque::new(),
            current: HashMap::new(),
        }
    }

    /// A new token at each call; the one before lives on for the overlap.
    pub fn classic(&mut self, appid: &str, now: Timestamp) -> Issued {
        let end = now.after(self.overlap);
        if let Some(previous) = self.current_mut(appid, Kind::Classic) {
            previous.dies_at = previous.dies_at.min(end);
        }
        self.issue(appid, Kind::Classic, now)
    }

    /// The current token until its last minutes, then a new one beside it. `force` replaces it at once.
    pub fn stable(&mut self, appid: &str, now: Timestamp, force: bool) -> Issued {
        let overlap = self.overlap;
        if force {
            if let Some(previous) = self.current_mut(appid, Kind::Stable) {
                previous.dies_at = previous.dies_at.min(now);
            }
        } else if let Some((value, expires_at)) = self.still_current(appid, Kind::Stable, now, overlap) {
            return Issued { value, expires_in_s: expires_at.since(now).as_secs() };
        }
        self.issue(appid, Kind::Stable, now)
    }

    /// The current ticket until its last minutes, then a new one beside it. As reported from the field, a repeated
    /// call says the whole life in `expires_in` again: who believes it keeps a dead ticket.
    pub fn ticket(&mut self, appid: &str, now: Timestamp) -> Issued {
        match self.still_current(appid, Kind::Ticket, now, self.overlap) {
            Some((value, _)) => Issued { value, expires_in_s: self.lifetime.as_secs() },
            None => self.issue(appid, Kind::Ticket, now),
        }
    }

    /// The app of a live access_token.
    pub fn check(&self, token: &str, now: Timestamp) -> Result<&str, Dead> {
        if !token_shaped(token) {
            return Err(Dead::Malformed);
        }
        let credential =
            self.by_value.get(token).filter(|credential| credential.kind != Kind::Ticket).ok_or(Dead::Unknown)?;
        if now < credential.dies_at {
            Ok(&credential.appid)
        } else if credential.dies_at < credential.expires_at {
            Err(Dead::Replaced)
        } else {
            Err(Dead::Expired)
        }
    }

    /// What is known of a value, dead or alive.
    pub fn known(&self, value: &str, now: Timestamp) -> Option<Known<'_>> {
        let credential = self.by_value.get(value)?;
        let alive = now < credential.dies_at;
        Some(Known { appid: &credential.appid, alive, expires_at: credential.expires_at })
    }

    /// The tickets of an app that still sign.
    pub fn live_tickets(&self, appid: &str, now: Timestamp) -> impl Iterator<Item = &str> {
        let live = move |credential: &Credential| credential.kind == Kind::Ticket && now < credential.dies_at;
        let tickets = self.by_value.iter().filter(move |(_, c)| live(c) && c.appid == appid);
        tickets.map(|(value, _)| value.as_str())
    }

    /// Ends lives at once. `still_current`: WeChat goes on handing out what it then refuses.
    pub fn kill(&mut self, appid: &str, kinds: &[Kind], now: Timestamp, still_current: bool) -> usize {
        let mut killed = 0;
        for credential in self.by_value.values_mut() {
            if credential.appid == appid && kinds.contains(&credential.kind) && now < credential.dies_at {
                credential.dies_at = now;
                killed += 1;
            }
        }
        if !still_current {
            self.current.retain(|(owner, kind), _| owner != appid || !kinds.contains(kind));
        }
        killed
    }

    fn current_mut(&mut self, appid: &str, kind: Kind) -> Option<&mut Credential> {
        let value = self.current.get(&(appid.to_owned(), kind))?;
        self.by_value.get_mut(value)
    }

    fn still_current(&self, appid: &str, kind: Kind, now: Timestamp, overlap: Duration) -> Option<(String, Timestamp)> {
        let value = self.current.get(&(appid.to_owned(), kind))?;
        let expires_at = self.by_value.get(value)?.expires_at;
        (now.after(overlap) < expires_at).then(|| (value.clone(), expires_at))
    }

    fn issue(&mut self, appid: &str, kind: Kind, now: Timestamp) -> Issued {
        let value = match kind {
            Kind::Classic | Kind::Stable => format!("92_{}", random_text(133)),
            Kind::Ticket => random_text(86),
        };
        let expires_at = now.after(self.lifetime);
        let credential = Credential { appid: appid.to_owned(), kind, expires_at, dies_at: expires_at };
        self.by_value.insert(value.clone(), credential);
        self.order.push_back(value.clone());
        self.current.insert((appid.to_owned(), kind), value.clone());
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_value.remove(&oldest);
        }
        Issued { value, expires_in_s: self.lifetime.as_secs() }
    }
}

/// A number, an underscore and a long text: what is not even that gets 40014.
pub(in crate::sandbox) fn token_shaped(token: &str) -> bool {
    token.split_once('_').is_some_and(|(number, rest)| {
        !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && rest.len() >= 64
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    })
}
