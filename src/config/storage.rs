//! Where things are kept, and for how long: the types of `[store]` and `[retention]`.

use std::time::Duration;

use crate::secret::Secret;

/// `[store]`: the database.
#[derive(Debug, Clone)]
pub struct Store {
    /// `sqlite://path` or `postgres://…`; holds a password, therefore secret.
    pub url: Secret,
    /// The owner of the schema on PostgreSQL, by whom it is migrated; `url` is then the role of the running service,
    /// which owns nothing.
    pub migrate_url: Option<Secret>,
    /// The key of the names that stand where payers' openids stood; without it, the database's own.
    pub payer_key: Option<Secret>,
    /// Whether a host beyond the private networks may be called without a checked certificate.
    pub allow_unverified_tls: bool,
    /// All connections (PostgreSQL, two at least), or readers (SQLite, which has one writer).
    pub max_connections: u32,
    /// Whether the schema is brought up to date at start.
    pub migrate_on_start: bool,
    /// Statements that each connection to PostgreSQL keeps prepared; 0 for a pooler that hands a connection to another
    /// client after each transaction.
    pub statement_cache: usize,
    /// Whether long texts are written packed, which versions from before cannot read.
    pub compact: bool,
    /// How long a lease outlives its holder's last renewal; renewed after a third of it.
    pub lease: Duration,
}

impl Store {
    /// The same database as the owner of its tables, where they have one.
    pub fn of_owner(&self) -> Store {
        let url = self.migrate_url.as_ref().unwrap_or(&self.url).clone();
        Store { url, migrate_url: None, migrate_on_start: false, ..self.clone() }
    }
}

/// `[retention]`: for how long what is no part of the books is kept.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Notifications as WeChat posted them, and samples of refused bodies.
    pub notifications: Duration,
    /// Events, in the feed.
    pub outbox: Duration,
    /// Dead letters, after they were replayed or discarded.
    pub dead_letters: Duration,
    /// The audit.
    pub audit: Duration,
    /// Idempotency keys, and which payment a refund's number means.
    pub idempotency: Duration,
    /// Requests for a second person, after their end.
    pub approvals: Duration,
    /// Payers, after their last login.
    pub users: Duration,
    /// Deliveries to webhooks, after they ended, and attempts.
    pub webhooks: Duration,
}
