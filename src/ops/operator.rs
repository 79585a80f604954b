//! Who asks, and a page of the answer.

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::{AuditEntry, Scanned};

/// Who asks for an operation.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The name of the API key, or the user.
    pub name: String,
    /// What stays when the key or its name is changed.
    pub id: String,
    /// The key that it presented: of the database its own id, of the file its client's. A user's is its id.
    pub key: String,
    /// The client's address.
    pub remote_addr: String,
    /// The merchants it may see; none where it sees all.
    pub merchants: Option<Vec<MerchantKey>>,
}

impl Operator {
    /// Whether it may see this merchant.
    pub fn sees(&self, merchant: &MerchantKey) -> bool {
        self.merchants.as_ref().is_none_or(|merchants| merchants.contains(merchant))
    }

    /// Whether it may see what is of this merchant, or of none.
    pub fn sees_any(&self, merchant: Option<&MerchantKey>) -> bool {
        merchant.map_or(self.merchants.is_none(), |merchant| self.sees(merchant))
    }

    /// The audit row of something it does, about nothing yet.
    pub fn audit(&self, action: &'static str, reason: String, at: Timestamp) -> AuditEntry {
        AuditEntry {
            at,
            actor: self.name.clone(),
            actor_id: Some(self.id.clone()),
            remote_addr: self.remote_addr.clone(),
            action,
            merchant: None,
            order_no: None,
            transaction_id: None,
            subject: None,
            reason,
            result: "done".to_owned(),
        }
    }
}

/// A page of a list, newest first.
#[derive(Debug, Clone)]
pub struct Page<T, K> {
    pub rows: Vec<T>,
    /// Where the next page begins; none where this is the last.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// A page is followed by another one if it has as many rows as it may, or has compared as many.
    pub fn of(scanned: Scanned<T, K>, limit: u64, key: impl Fn(&T) -> K) -> Page<T, K> {
        let Scanned { rows, to } = scanned;
        let next = rows.last().filter(|_| rows.len() as u64 >= limit).map(key).or(to);
        Page { rows, next }
    }
}
