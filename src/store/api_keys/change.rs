//! What is written of keys. A key and its audit row are one transaction.

use sea_orm::Value;

use super::read::StoredApiKey;
use crate::clock::Timestamp;
use crate::config::{Merchants, Scope};
use crate::money::Fen;
use crate::store::Store;
use crate::store::db::{DbError, placeholders};
use crate::store::order::rows::unreadable;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::WriteTx;

/// A use is written again after this.
const USED_EVERY_MS: i64 = 60_000;

/// The keys to end, of one client.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// The client.
    pub id: String,
    /// The hashes of its keys.
    pub hashes: Vec<String>,
}

impl Store {
    /// Stores a key; `false` where another one that is not revoked has its name. `seq` is given by the database.
    pub async fn create_api_key(&self, key: &StoredApiKey, audit: &AuditEntry) -> Result<bool, DbError> {
        let write = (key.clone(), audit.clone());
        self.db.write("api_key.create", write, |tx, (key, audit)| Box::pin(create(tx, key, audit))).await
    }

    /// Ends keys for all processes. Ending them again changes nothing; the audit has every request, with its result.
    pub async fn revoke_api_keys(&self, which: &Revocation, audit: &AuditEntry) -> Result<(), DbError> {
        let write = (which.clone(), audit.clone());
        self.db.write("api_key.revoke", write, |tx, (which, audit)| Box::pin(revoke(tx, which, audit))).await
    }

    /// Notes when keys were used, by their hashes; what was noted less than a minute before stays.
    pub async fn note_api_key_uses(&self, uses: &[(String, Timestamp)]) -> Result<(), DbError> {
        self.db.write("api_key.used", uses.to_vec(), |tx, uses| Box::pin(note_uses(tx, uses))).await
    }
}

async fn create(tx: &WriteTx, key: &StoredApiKey, audit: &AuditEntry) -> Result<bool, DbError> {
    let names: Vec<&str> = key.scopes.iter().map(|scope| Scope::as_str(*scope)).collect();
    let json = |names: &[&str]| serde_json::to_string(names).map_err(|e| unreadable("api_keys", &e));
    let merchants = match &key.merchants {
        Merchants::All => None,
        Merchants::Only(keys) => Some(json(&keys.iter().map(|key| key.as_str()).collect::<Vec<_>>())?),
    };
    let sql = "INSERT INTO api_keys (id, client_id, name, hash, scopes, merchants, expires_at_ms,
                                     refund_cap_fen_per_day, rate_limit_per_second, created_at_ms, created_by,
                                     created_by_id, is_revoked)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0) ON CONFLICT DO NOTHING";
    let values: [Value; 12] = [
        key.id.as_str().into(),
        key.client_id.as_str().into(),
        key.name.as_str().into(),
        key.sha256.as_str().into(),
        json(&names)?.into(),
        merchants.into(),
        key.expires_at.map(Timestamp::as_ms).into(),
        key.refund_cap_per_day.map(Fen::as_i64).into(),
        key.rate_limit_per_second.map(i64::from).into(),
        key.created_at.as_ms().into(),
        key.created_by.as_str().into(),
        key.created_by_id.as_str().into(),
    ];
    let is_new = tx.execute(sql, values).await? > 0;
    let result = if is_new { "done" } else { "key_name_taken" };
    write_audit(tx, &AuditEntry { result: result.to_owned(), ..audit.clone() }).await?;
    Ok(is_new)
}

async fn revoke(tx: &WriteTx, which: &Revocation, audit: &AuditEntry) -> Result<(), DbError> {
    let sql = "INSERT INTO revoked_api_keys (hash, key_id, revoked_at_ms, revoked_by, reason)
               VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
    let mut ended = 0;
    for hash in &which.hashes {
        let values = [
            hash.as_str().into(),
            which.id.as_str().into(),
            audit.at.as_ms().into(),
            audit.actor.as_str().into(),
            audit.reason.as_str().into(),
        ];
        ended += tx.execute(sql, values).await?;
        tx.execute("UPDATE api_keys SET is_revoked = 1 WHERE hash = $1", [hash.as_str().into()]).await?;
    }
    let result = if ended > 0 { "done" } else { "repeated" };
    write_audit(tx, &AuditEntry { result: result.to_owned(), ..audit.clone() }).await
}

async fn note_uses(tx: &WriteTx, uses: &[(String, Timestamp)]) -> Result<(), DbError> {
    for rows in uses.chunks(tx.rows_per_statement().min(500)) {
        let sql = format!(
            "INSERT INTO api_key_uses (hash, last_used_ms) VALUES {}
             ON CONFLICT (hash) DO UPDATE SET last_used_ms = excluded.last_used_ms
             WHERE api_key_uses.last_used_ms <= excluded.last_used_ms - {USED_EVERY_MS}",
            placeholders(rows.len(), 2, 0)
        );
        let values = rows.iter().flat_map(|(hash, at)| [hash.as_str().into(), at.as_ms().into()]);
        tx.execute(&sql, values).await?;
    }
    Ok(())
}
