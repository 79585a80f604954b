//! API keys: those of the configuration's file, which are read-only here, and those of the database.
//!
//! What must stay true: a key grants no scope, merchant, money or time that it does not have itself; a key is shown
//! once, when it is made; a key whose merchants the operator does not all see is as if it did not exist.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::config::{ApiKey, Config, KeyHash, Merchants, Scope};
use crate::money::Fen;
use crate::ops::operator::{Operator, Page};
use crate::secret::{Secret, random_text, sha256_hex};
use crate::store::{AuditEntry, DbError, Revocation, RevokedApiKey, Store, StoredApiKey};

/// About 190 bits, behind a prefix by which secret scanners find keys.
const KEY_CHARACTERS: usize = 32;
const ID_CHARACTERS: usize = 16;

/// What an operator may hand on.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    pub scopes: &'a [Scope],
    pub merchants: &'a Merchants,
    /// When it ends.
    pub until: Option<Timestamp>,
    /// Whether its refunds of a day are limited.
    pub has_refund_cap: bool,
    pub rate_limit_per_second: Option<u32>,
}

/// A key to make.
#[derive(Debug, Clone)]
pub struct NewKey {
    pub name: String,
    /// The key whose client it is for as well; its own where none is given.
    pub of_client: Option<String>,
    pub scopes: Vec<Scope>,
    pub merchants: Merchants,
    pub expires_at: Option<Timestamp>,
    pub refund_cap_per_day: Option<Fen>,
    pub rate_limit_per_second: Option<u32>,
    pub reason: String,
}

/// Where a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySource {
    File,
    Database,
}

named!(KeySource { File = "file", Database = "database" });

/// A key as operators see it.
#[derive(Debug, Clone)]
pub struct KeyView {
    pub id: String,
    /// Idempotency keys and refund caps belong to it: the keys that replace one another have the same.
    pub client_id: String,
    pub name: String,
    pub source: KeySource,
    pub scopes: Vec<Scope>,
    pub merchants: Merchants,
    pub hashes: Vec<HashView>,
    pub refund_cap_per_day: Option<Fen>,
    pub rate_limit_per_second: Option<u32>,
    /// Those of the file have none.
    pub created_at: Option<Timestamp>,
    pub created_by: Option<String>,
}

/// One of the keys that a client may present.
#[derive(Debug, Clone)]
pub struct HashView {
    pub sha256: String,
    pub until: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked: Option<RevokedApiKey>,
}

/// A key that was made.
#[derive(Debug)]
pub struct MadeKey {
    pub secret: Secret,
    pub view: KeyView,
}

/// Why no key was made.
#[derive(Debug, thiserror::Error)]
pub enum NotMade {
    /// Its maker has not got what it would hand on.
    #[error("{0}")]
    Exceeds(&'static str),
    /// No key that its maker sees has the id that `of_client` names.
    #[error("there is no such API key")]
    NoClient,
    /// Another key that is not revoked has the name.
    #[error("another API key has this name")]
    NameTaken,
    #[error(transparent)]
    Store(#[from] DbError),
}

/// A page of keys: those of the file first, then those of the database, newest first.
pub async fn list(
    store: &Store,
    config: &Config,
    operator: &Operator,
    (before, limit): (Option<i64>, u64),
) -> Result<Page<KeyView, i64>, DbError> {
    let notes = Notes::read(store).await?;
    let rows = store.api_keys(before, limit).await?;
    let next = rows.last().filter(|_| rows.len() as u64 >= limit).map(|key| key.seq);
    let of_file = config.api_keys.iter().filter(|_| before.is_none()).map(|key| notes.of_file(key));
    let views = of_file.chain(rows.into_iter().map(|key| notes.stored(key)));
    Ok(Page { rows: views.filter(|key| sees(operator, &key.merchants)).collect(), next })
}

/// One key, if the operator may see it.
pub async fn get(store: &Store, config: &Config, operator: &Operator, id: &str) -> Result<Option<KeyView>, DbError> {
    let notes = Notes::read(store).await?;
    let of_file = config.api_keys.iter().find(|key| key.id == id).map(|key| notes.of_file(key));
    let found = match of_file {
        Some(found) => Some(found),
        None => store.api_key(id).await?.map(|key| notes.stored(key)),
    };
    Ok(found.filter(|key| sees(operator, &key.merchants)))
}

/// Makes a key of the database.
pub async fn create(
    store: &Store,
    config: &Config,
    (operator, authority): (&Operator, Authority<'_>),
    request: NewKey,
    now: Timestamp,
) -> Result<MadeKey, NotMade> {
    let id = format!("key-{}", random_text(ID_CHARACTERS));
    let secret = Secret::new(format!("wxk_{}", random_text(KEY_CHARACTERS)));
    let audit = entry(operator, "api_key.create", &id, &request.reason, now);
    let granted = granted(authority, request);
    let refused = match &granted {
        Err(_) => Some("grant_exceeds"),
        Ok(key) => config.api_keys.iter().any(|of_file| of_file.name == key.name).then_some("key_name_taken"),
    };
    if let Some(result) = refused {
        store.record_audit(&AuditEntry { result: result.to_owned(), ..audit }).await?;
        return Err(granted.err().map_or(NotMade::NameTaken, NotMade::Exceeds));
    }
    let key = granted.map_err(NotMade::Exceeds)?;
    let client_id = match &key.of_client {
        None => id.clone(),
        Some(other) => match get(store, config, operator, other).await? {
            Some(found) => found.client_id,
            None => {
                store.record_audit(&AuditEntry { result: "not_found".to_owned(), ..audit }).await?;
                return Err(NotMade::NoClient);
            }
        },
    };
    let key = StoredApiKey {
        seq: 0,
        id,
        client_id,
        name: key.name,
        sha256: sha256_hex(secret.expose().as_bytes()),
        scopes: key.scopes,
        merchants: key.merchants,
        expires_at: key.expires_at,
        refund_cap_per_day: key.refund_cap_per_day,
        rate_limit_per_second: key.rate_limit_per_second,
        created_at: now,
        created_by: operator.name.clone(),
        // Not its client: whose a key is, is followed from key to key.
        created_by_id: operator.key.clone(),
    };
    if !store.create_api_key(&key, &audit).await? {
        return Err(NotMade::NameTaken);
    }
    Ok(MadeKey { secret, view: Notes::default().stored(key) })
}

/// Revokes a key: of the file with every hash that it has, or of the database. Other keys of its client stay. Revoking
/// it again changes nothing.
pub async fn revoke(
    store: &Store,
    config: &Config,
    operator: &Operator,
    (id, reason): (&str, &str),
    now: Timestamp,
) -> Result<Option<KeyView>, DbError> {
    let Some(found) = get(store, config, operator, id).await? else { return Ok(None) };
    let hashes = found.hashes.iter().map(|hash| hash.sha256.clone()).collect();
    let which = Revocation { id: found.id.clone(), hashes };
    store.revoke_api_keys(&which, &entry(operator, "api_key.revoke", id, reason, now)).await?;
    get(store, config, operator, id).await
}

/// What is made of a request: what its maker has, and no more. What it leaves out is as its maker's.
fn granted(own: Authority<'_>, mut key: NewKey) -> Result<NewKey, &'static str> {
    if !key.scopes.iter().all(|scope| own.scopes.contains(scope)) {
        return Err("it lacks one of the scopes");
    }
    if !covers(own.merchants, &key.merchants) {
        return Err("it does not see one of the merchants");
    }
    if own.has_refund_cap && key.scopes.contains(&Scope::Refunds) {
        return Err("its own refunds are limited, so it cannot grant the scope refunds");
    }
    key.expires_at = key.expires_at.or(own.until);
    if own.until.is_some_and(|until| key.expires_at.is_none_or(|expires| expires > until)) {
        return Err("it ends earlier");
    }
    key.rate_limit_per_second = key.rate_limit_per_second.or(own.rate_limit_per_second);
    if own.rate_limit_per_second.is_some_and(|limit| key.rate_limit_per_second.is_none_or(|rate| rate > limit)) {
        return Err("its own rate limit is lower");
    }
    Ok(key)
}

fn covers(own: &Merchants, others: &Merchants) -> bool {
    match (own, others) {
        (Merchants::All, _) => true,
        (Merchants::Only(_), Merchants::All) => false,
        (Merchants::Only(own), Merchants::Only(others)) => others.iter().all(|merchant| own.contains(merchant)),
    }
}

fn sees(operator: &Operator, merchants: &Merchants) -> bool {
    match (&operator.merchants, merchants) {
        (None, _) => true,
        (Some(_), Merchants::All) => false,
        (Some(_), Merchants::Only(merchants)) => merchants.iter().all(|merchant| operator.sees(merchant)),
    }
}

fn entry(operator: &Operator, action: &'static str, id: &str, reason: &str, now: Timestamp) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: operator.name.clone(),
        actor_id: Some(operator.id.clone()),
        remote_addr: operator.remote_addr.clone(),
        action,
        merchant: None,
        order_no: None,
        transaction_id: None,
        subject: Some(format!("api_key:{id}")),
        reason: reason.to_owned(),
        result: "done".to_owned(),
    }
}

/// What is known of keys by their hashes.
#[derive(Default)]
struct Notes {
    uses: HashMap<String, Timestamp>,
    revoked: HashMap<String, RevokedApiKey>,
}

impl Notes {
    async fn read(store: &Store) -> Result<Notes, DbError> {
        let revoked = store.revoked_api_keys().await?.into_iter().map(|key| (key.sha256.clone(), key)).collect();
        Ok(Notes { uses: store.api_key_uses().await?, revoked })
    }

    fn hash(&self, KeyHash { sha256, until }: &KeyHash) -> HashView {
        HashView {
            sha256: sha256.clone(),
            until: *until,
            last_used_at: self.uses.get(sha256).copied(),
            revoked: self.revoked.get(sha256).cloned(),
        }
    }

    fn of_file(&self, key: &ApiKey) -> KeyView {
        KeyView {
            id: key.id.clone(),
            client_id: key.id.clone(),
            name: key.name.clone(),
            source: KeySource::File,
            scopes: key.scopes.clone(),
            merchants: key.merchants.clone(),
            hashes: key.hashes.iter().map(|hash| self.hash(hash)).collect(),
            refund_cap_per_day: key.refund_cap_per_day,
            rate_limit_per_second: key.rate_limit_per_second,
            created_at: None,
            created_by: None,
        }
    }

    fn stored(&self, key: StoredApiKey) -> KeyView {
        KeyView {
            hashes: vec![self.hash(&KeyHash { sha256: key.sha256, until: key.expires_at })],
            id: key.id,
            client_id: key.client_id,
            name: key.name,
            source: KeySource::Database,
            scopes: key.scopes,
            merchants: key.merchants,
            refund_cap_per_day: key.refund_cap_per_day,
            rate_limit_per_second: key.rate_limit_per_second,
            created_at: Some(key.created_at),
            created_by: Some(key.created_by),
        }
    }
}
