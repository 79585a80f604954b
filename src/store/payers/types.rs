//! Erasures as rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{AppKey, OpenId};
use crate::store::db::DbError;
use crate::store::order::rows::{broken, unknown};
use crate::store::writer::Row;

/// Where an erasure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureState {
    /// It goes through the tables.
    Running,
    /// Something of the payer is still needed: it goes through the tables again later.
    Waiting,
    /// It went through all tables and found nothing.
    Done,
}

named!(ErasureState { Running = "running", Waiting = "waiting", Done = "done" });

/// What an erasure waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needed {
    /// Orders that may still be paid.
    Orders,
    /// Evidence of the version before, which has the openid: its owner replaces it.
    Evidence,
    /// Notifications that wait for their order, or are parked.
    Notifications,
    /// Dead letters that were neither replayed nor discarded.
    DeadLetters,
    /// Messages of the queue, and those that were put off.
    Messages,
    /// Rows that cannot be read.
    Unreadable,
    /// Keys that made names and are not known any more: what has such a name is not found.
    Keys,
    /// The last way through the tables, which begins when nothing of before can still come.
    LastPass,
}

impl Needed {
    pub const fn as_str(self) -> &'static str {
        match self {
            Needed::Orders => "orders",
            Needed::Evidence => "evidence",
            Needed::Notifications => "notifications",
            Needed::DeadLetters => "dead_letters",
            Needed::Messages => "messages",
            Needed::Unreadable => "unreadable",
            Needed::Keys => "keys",
            Needed::LastPass => "last_pass",
        }
    }
}

/// The tables that an erasure goes through, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Logins,
    Orders,
    Evidence,
    Notifications,
    RefusedBodies,
    Quarantine,
    DeadLetters,
    Deferred,
    Queue,
}

named!(Part {
    Logins = "logins",
    Orders = "orders",
    Evidence = "evidence",
    Notifications = "notifications",
    RefusedBodies = "refused_bodies",
    Quarantine = "quarantine",
    DeadLetters = "dead_letters",
    Deferred = "deferred",
    Queue = "queue",
});

impl Part {
    /// The table after this one.
    pub fn next(self) -> Option<Part> {
        let at = Part::ALL.iter().position(|part| *part == self)?;
        Part::ALL.get(at + 1).copied()
    }
}

/// How many rows of each kind.
pub type Counts = BTreeMap<String, i64>;

/// Whose rows an erasure may touch: as they were when it was asked for, by whom all of it could be seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// WeChat's number of the app.
    pub appid: String,
    pub merchants: Vec<String>,
}

/// The erasure of one payer.
#[derive(Debug, Clone)]
pub struct Erasure {
    pub id: i64,
    pub app: AppKey,
    /// The name that stands where the openid stood.
    pub payer: String,
    /// Until it has ended.
    pub openid: Option<OpenId>,
    pub scope: Scope,
    pub reason: String,
    /// Who asked for it: name, id, address.
    pub asked_by: [String; 3],
    /// What came later is not erased.
    pub asked_at: Timestamp,
    /// When the last way through the tables may begin.
    pub last_pass_from: Timestamp,
    pub state: ErasureState,
    /// Rows without the payer since then, and rows that are gone.
    pub changed: i64,
    pub removed: i64,
    /// What the last way through the tables left.
    pub waits_for: Counts,
    pub ended_at: Option<Timestamp>,
    /// When it goes on; none where it has ended.
    pub next_at: Option<Timestamp>,
    /// How often in a row it had to wait, or failed.
    pub tries: i64,
    /// Why its last step failed.
    pub error: Option<String>,
    pub(super) place: Place,
}

/// How far an erasure is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub pass: i64,
    /// When this way through the tables began.
    pub began_at: i64,
    pub part: Part,
    /// The key of the last row that was read.
    pub key: String,
    /// Whether this way through the tables changed a row.
    pub is_dirty: bool,
    /// What it left so far.
    pub found: Counts,
}

impl Place {
    /// Before the first row of a table.
    pub fn begin(pass: i64) -> Place {
        Place { pass, began_at: 0, part: Part::Logins, key: String::new(), is_dirty: false, found: Counts::new() }
    }
}

pub(super) const COLUMNS: &str =
    "id, app, payer, openid, scope, reason, asked_by, asked_by_id, remote_addr, asked_at_ms, last_pass_from_ms, state,
     pass, began_at_ms, part, place, dirty, found, waits_for, changed, removed, tries, error, next_at_ms, ended_at_ms";

pub(super) fn erasure(row: &Row) -> Result<Erasure, DbError> {
    let word = |column: &str| row.get::<String>(column);
    let counts = |column: &str| serde_json::from_str(&word(column)?).map_err(|e| DbError::Defect(e.to_string()));
    let time = |column: &str| Ok::<_, DbError>(row.get::<Option<i64>>(column)?.map(Timestamp::from_ms));
    let (state, part) = (word("state")?, word("part")?);
    Ok(Erasure {
        id: row.get("id")?,
        app: AppKey::parse(word("app")?).map_err(broken("app"))?,
        payer: word("payer")?,
        openid: row.get::<Option<String>>("openid")?.map(OpenId::parse).transpose().map_err(broken("openid"))?,
        scope: serde_json::from_str(&word("scope")?).map_err(|e| DbError::Defect(e.to_string()))?,
        reason: word("reason")?,
        asked_by: [word("asked_by")?, word("asked_by_id")?, word("remote_addr")?],
        asked_at: Timestamp::from_ms(row.get("asked_at_ms")?),
        last_pass_from: Timestamp::from_ms(row.get("last_pass_from_ms")?),
        state: ErasureState::parse(&state).ok_or_else(|| unknown("state", &state))?,
        changed: row.get("changed")?,
        removed: row.get("removed")?,
        waits_for: counts("waits_for")?,
        ended_at: time("ended_at_ms")?,
        next_at: time("next_at_ms")?,
        tries: row.get("tries")?,
        error: row.get("error")?,
        place: Place {
            pass: row.get("pass")?,
            began_at: row.get("began_at_ms")?,
            part: Part::parse(&part).ok_or_else(|| unknown("part", &part))?,
            key: word("place")?,
            is_dirty: row.get("dirty")?,
            found: counts("found")?,
        },
    })
}
