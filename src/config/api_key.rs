//! The types of `[[api_keys]]`.

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::money::Fen;

/// One `[[api_keys]]` entry.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Whose it is; shown in audit rows.
    pub name: String,
    /// The client: its idempotency keys belong to it, however often its API key is replaced. The name unless given.
    pub id: String,
    /// The key itself: of the database its own id, of the file its client's.
    pub key_id: String,
    /// The keys it may present.
    pub hashes: Vec<KeyHash>,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Which merchants it may see.
    pub merchants: Merchants,
    /// How much it may ask to be refunded on one day in Beijing; without limit where there is none.
    pub refund_cap_per_day: Option<Fen>,
    /// How many requests each process serves it in one second; without limit where there is none.
    pub rate_limit_per_second: Option<u32>,
}

impl ApiKey {
    /// The highest rate limit.
    pub const RATE_MAX: i64 = 1_000_000;
}

/// The hash of one key of a client. While a key is replaced there are two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHash {
    /// SHA-256 of the key's bytes, 64 lower-case hex digits without the `sha256:` of the configuration.
    pub sha256: String,
    /// Until when it is accepted; no end where there is none.
    pub until: Option<Timestamp>,
}

/// The merchants that an API key may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merchants {
    /// Also those that are configured later.
    All,
    /// These and no others.
    Only(Vec<MerchantKey>),
}

impl Merchants {
    /// Whether this one is among them.
    pub fn contains(&self, merchant: &MerchantKey) -> bool {
        match self {
            Merchants::All => true,
            Merchants::Only(merchants) => merchants.contains(merchant),
        }
    }
}

/// What an API key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Place and read orders.
    Orders,
    /// Request and read refunds.
    Refunds,
    /// Read events and reconciliations.
    Finance,
    /// List and replay failures.
    Ops,
    /// Make and revoke API keys.
    Admin,
}

named!(Scope { Orders = "orders", Refunds = "refunds", Finance = "finance", Ops = "ops", Admin = "admin" });
