//! The name that stands for an openid: a keyed hash, which is the same each time and from which no openid is found
//! without the key. It is written as openids are, so that every reader of one reads it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::OnceCell;

use crate::config;
use crate::secret::{Secret, hmac_sha256};
use crate::store::db::{Db, DbError};

const PREFIX: &str = "payer-";
/// Of the hash; 22 characters in base64.
const BYTES: usize = 16;
const LENGTH: usize = 28;
/// What a key's print is the name of. No openid has a blank.
const PRINTED: &str = "the key itself";

/// The keys of the names.
#[derive(Debug, Clone)]
pub struct Payers {
    /// The newest first: it names.
    keys: Vec<Secret>,
}

impl Payers {
    /// The name of an openid.
    pub fn name(&self, openid: &str) -> String {
        self.keys.first().map_or_else(|| PREFIX.to_owned(), |key| name(key, openid))
    }

    /// Every name that rows may have for an openid.
    pub fn names(&self, openid: &str) -> Vec<String> {
        self.keys.iter().map(|key| name(key, openid)).collect()
    }
}

impl Payers {
    /// What says which keys these are, and of no openid what it is. The first is that of the key that names.
    pub fn prints(&self) -> Vec<String> {
        self.keys.iter().map(|key| name(key, PRINTED)).collect()
    }
}

/// Whether it is such a name, and no openid.
pub fn is_name(text: &str) -> bool {
    text.len() == LENGTH && text.starts_with(PREFIX)
}

fn name(key: &Secret, openid: &str) -> String {
    let hash = hmac_sha256(key.expose().as_bytes(), openid.as_bytes());
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(hash.get(..BYTES).unwrap_or(&hash)))
}

/// The keys as this process knows them: the configured one, and the database's own, which is read once.
#[derive(Debug, Clone, Default)]
pub struct KnownPayers {
    configured: Option<Secret>,
    read: Arc<OnceCell<Payers>>,
}

impl KnownPayers {
    pub fn of(settings: &config::Store) -> KnownPayers {
        KnownPayers { configured: settings.payer_key.clone(), read: Arc::default() }
    }

    pub async fn get(&self, db: &Db) -> Result<&Payers, DbError> {
        self.read
            .get_or_try_init(|| async {
                let sql = "SELECT key FROM payer_keys WHERE one = 1";
                let row = db.reader().rows(sql, []).await?.pop();
                let row = row.ok_or_else(|| DbError::Defect("payer_keys has no row".into()))?;
                let own = Secret::new(row.get::<String>("key")?);
                let payers = Payers { keys: self.configured.iter().cloned().chain([own]).collect() };
                // Before the first name that it makes.
                if let Some(print) = payers.prints().into_iter().next() {
                    let sql = "INSERT INTO payer_key_prints (print) VALUES ($1) ON CONFLICT DO NOTHING";
                    let known = "SELECT 1 AS found FROM payer_key_prints WHERE print = $1";
                    if db.reader().rows(known, [print.as_str().into()]).await?.is_empty() {
                        db.execute("payers.key", sql, [print.into()]).await?;
                    }
                }
                Ok(payers)
            })
            .await
    }
}
