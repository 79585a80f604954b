//! The keys as processes accept them and as operators list them.

use std::collections::{HashMap, HashSet};

use crate::clock::Timestamp;
use crate::config::{Merchants, Scope};
use crate::ids::MerchantKey;
use crate::money::Fen;
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::order::rows::unreadable;
use crate::store::writer::Row;

/// A key of the database.
#[derive(Debug, Clone)]
pub struct StoredApiKey {
    /// Its place in the list; grows.
    pub seq: i64,
    pub id: String,
    /// The client: its idempotency keys and its refund cap belong to it, whichever of its keys it presents.
    pub client_id: String,
    pub name: String,
    /// 64 lower-case hex digits.
    pub sha256: String,
    pub scopes: Vec<Scope>,
    pub merchants: Merchants,
    pub expires_at: Option<Timestamp>,
    pub refund_cap_per_day: Option<Fen>,
    pub rate_limit_per_second: Option<u32>,
    pub created_at: Timestamp,
    /// The name of the key or user that made it.
    pub created_by: String,
    /// The id of the key or user that made it; of one that an earlier version made, the maker's client.
    pub created_by_id: String,
}

/// The end of a key before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedApiKey {
    /// 64 lower-case hex digits.
    pub sha256: String,
    pub at: Timestamp,
    pub by: String,
    pub reason: String,
}

/// How many rows there are. None is ever deleted: the same numbers mean the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiKeyCounts {
    keys: i64,
    revoked: i64,
}

/// How far the makers of a key are followed.
const MAX_MAKERS: usize = 64;

const COLUMNS: &str = "seq, id, client_id, name, hash, scopes, merchants, expires_at_ms, refund_cap_fen_per_day,
                       rate_limit_per_second, created_at_ms, created_by, created_by_id";

impl Store {
    /// Who stands behind a presented key or user: it, its client, who made the key, and so on, each with its client.
    /// Nothing where the line is too long to be followed.
    pub async fn key_line(&self, key: &str, client_id: &str) -> Result<Option<HashSet<String>>, DbError> {
        let mut line = HashSet::from([client_id.to_owned()]);
        let mut next = key.to_owned();
        for _ in 0..MAX_MAKERS {
            line.insert(next.clone());
            let sql = "SELECT client_id, created_by_id FROM api_keys WHERE id = $1";
            let rows = self.db.reader().rows(sql, [next.into()]).await?;
            let Some(row) = rows.first() else { return Ok(Some(line)) };
            line.insert(row.get("client_id")?);
            next = row.get("created_by_id")?;
        }
        Ok(None)
    }

    /// Whether anything changed is seen by these. As all that tells of a revocation, it is read by the reserved
    /// connection: requests that wait for the others do not delay it.
    pub async fn api_key_counts(&self) -> Result<ApiKeyCounts, DbError> {
        let sql = "SELECT (SELECT COUNT(*) FROM api_keys) AS keys,
                          (SELECT COUNT(*) FROM revoked_api_keys) AS revoked";
        let rows = self.db.reserved_reader().rows(sql, []).await?;
        let row = rows.first().ok_or_else(|| DbError::Defect("a count without a row".into()))?;
        Ok(ApiKeyCounts { keys: row.get("keys")?, revoked: row.get("revoked")? })
    }

    /// The keys that are not revoked; some may have expired.
    pub async fn unrevoked_api_keys(&self) -> Result<Vec<StoredApiKey>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE is_revoked = 0 ORDER BY seq");
        let rows = self.db.reserved_reader().rows(&sql, []).await?;
        // A row that cannot be read is a key that is not accepted: it must not keep revocations from being read.
        let readable = rows.iter().filter_map(|row| {
            let id = row.get::<String>("id").unwrap_or_default();
            key(row).inspect_err(|e| tracing::error!(id, error = %e, "an API key of the database is unreadable")).ok()
        });
        Ok(readable.collect())
    }

    /// Up to `limit` keys older than `before`, newest first.
    pub async fn api_keys(&self, before: Option<i64>, limit: u64) -> Result<Vec<StoredApiKey>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE seq < $1 ORDER BY seq DESC LIMIT {limit}");
        let rows = self.db.reader().rows(&sql, [before.unwrap_or(i64::MAX).into()]).await?;
        rows.iter().map(key).collect()
    }

    pub async fn api_key(&self, id: &str) -> Result<Option<StoredApiKey>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE id = $1");
        self.db.reader().rows(&sql, [id.into()]).await?.first().map(key).transpose()
    }

    /// All that were revoked, of the database and of the file.
    pub async fn revoked_api_keys(&self) -> Result<Vec<RevokedApiKey>, DbError> {
        let sql = "SELECT hash, revoked_at_ms, revoked_by, reason FROM revoked_api_keys";
        let revoked = |row: &Row| {
            Ok(RevokedApiKey {
                sha256: row.get("hash")?,
                at: Timestamp::from_ms(row.get("revoked_at_ms")?),
                by: row.get("revoked_by")?,
                reason: row.get("reason")?,
            })
        };
        self.db.reader().rows(sql, []).await?.iter().map(revoked).collect()
    }

    /// The hashes of all that were revoked.
    pub async fn revoked_hashes(&self) -> Result<HashSet<String>, DbError> {
        let rows = self.db.reserved_reader().rows("SELECT hash FROM revoked_api_keys", []).await?;
        rows.iter().map(|row| row.get("hash")).collect()
    }

    /// When each key was last used, by its hash; a minute late at most.
    pub async fn api_key_uses(&self) -> Result<HashMap<String, Timestamp>, DbError> {
        let rows = self.db.reader().rows("SELECT hash, last_used_ms FROM api_key_uses", []).await?;
        rows.iter().map(|row| Ok((row.get("hash")?, Timestamp::from_ms(row.get("last_used_ms")?)))).collect()
    }
}

fn key(row: &Row) -> Result<StoredApiKey, DbError> {
    let list = |column: &'static str, text: &str| {
        serde_json::from_str::<Vec<String>>(text).map_err(|e| unreadable(column, &e))
    };
    let merchants = match row.get::<Option<String>>("merchants")? {
        None => Merchants::All,
        Some(text) => Merchants::Only(
            list("merchants", &text)?.into_iter().filter_map(|name| MerchantKey::parse(name).ok()).collect(),
        ),
    };
    // A scope of a later version is one that this version cannot grant.
    let scopes: String = row.get("scopes")?;
    let scopes = list("scopes", &scopes)?.iter().filter_map(|name| Scope::parse(name)).collect();
    let rate: Option<i64> = row.get("rate_limit_per_second")?;
    Ok(StoredApiKey {
        seq: row.get("seq")?,
        id: row.get("id")?,
        client_id: row.get("client_id")?,
        name: row.get("name")?,
        sha256: row.get("hash")?,
        scopes,
        merchants,
        expires_at: row.get::<Option<i64>>("expires_at_ms")?.map(Timestamp::from_ms),
        refund_cap_per_day: row.get::<Option<i64>>("refund_cap_fen_per_day")?.map(Fen::from_i64),
        rate_limit_per_second: rate.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
        created_at: Timestamp::from_ms(row.get("created_at_ms")?),
        created_by: row.get("created_by")?,
        created_by_id: row.get("created_by_id")?,
    })
}
