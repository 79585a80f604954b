//! Who uses the console, and what they may do there.

use crate::clock::Timestamp;
use crate::ids::MerchantKey;

/// What a user is by default allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sees everything that is shown of its merchants.
    Viewer,
    /// Acts on payments, too.
    Operator,
    /// Manages users, too.
    Admin,
}

named!(Role { Viewer = "viewer", Operator = "operator", Admin = "admin" });

/// One thing that a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// See lists and pages.
    View,
    /// Plan and run replays, discard dead letters.
    Replay,
    /// Give payments back.
    Refund,
    /// Accept held payments, close orders.
    Accept,
    /// Take lists away as files.
    Export,
    /// Manage users and sessions.
    Admin,
}

named!(Right {
    View = "view",
    Replay = "replay",
    Refund = "refund",
    Accept = "accept",
    Export = "export",
    Admin = "admin",
});

impl Role {
    /// What the role contains.
    pub const fn rights(self) -> &'static [Right] {
        match self {
            Role::Viewer => &[Right::View],
            Role::Operator => &[Right::View, Right::Replay, Right::Refund, Right::Accept, Right::Export],
            Role::Admin => Right::ALL,
        }
    }
}

/// A role, what was granted beside it, and the merchants it holds for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub role: Role,
    /// Rights beyond the role's.
    pub grants: Vec<Right>,
    /// The merchants the user may see; none where it sees all.
    pub merchants: Option<Vec<MerchantKey>>,
}

impl Access {
    /// A role without grants.
    pub fn of(role: Role, merchants: Option<Vec<MerchantKey>>) -> Access {
        Access { role, grants: Vec::new(), merchants }
    }

    /// Whether it contains this right.
    pub fn has(&self, right: Right) -> bool {
        self.role.rights().contains(&right) || self.grants.contains(&right)
    }

    /// Whether it contains whatever the other one does: what its holder may give away.
    pub fn contains(&self, other: &Access) -> bool {
        let merchants = match (&self.merchants, &other.merchants) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|merchant| own.contains(merchant)),
        };
        merchants && Right::ALL.iter().all(|right| self.has(*right) || !other.has(*right))
    }
}

/// A user of the console. The password's hash stays in the store.
#[derive(Debug, Clone)]
pub struct ConsoleUser {
    pub id: i64,
    pub name: String,
    pub access: Access,
    pub created_at: Timestamp,
    pub created_by: String,
    /// When the password was last set; none before the invitation was used.
    pub password_at: Option<Timestamp>,
    /// Until when an unused invitation is good.
    pub invited_until: Option<Timestamp>,
}

/// A session that is open.
#[derive(Debug, Clone)]
pub struct ConsoleSession {
    pub id: i64,
    pub user_id: i64,
    pub user_name: String,
    pub access: Access,
    pub created_at: Timestamp,
    pub seen_at: Timestamp,
    pub expires_at: Timestamp,
    pub remote_addr: String,
    pub user_agent: String,
}

/// What became of a change of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserChange {
    Done,
    /// There is no such user.
    None,
    /// No administrator who sees all merchants would be left.
    LastAdmin,
    /// The user has more access than the one who asks.
    Beyond,
}
