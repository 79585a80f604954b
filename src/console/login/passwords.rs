//! Passwords: hashed by argon2id in a few threads, and compared in the same time whether or not there is a user.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use crate::console::fault::Fault;
use crate::secret::{Secret, random_text};

/// Memory in KiB, passes and lanes: OWASP's first choice for argon2id.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;
/// Passwords hashed at once, each with its memory; and how many more may wait.
const AT_ONCE: usize = 2;
const WAITING: usize = 32;
/// The shortest in characters, the longest in bytes.
const MIN_CHARS: usize = 12;
const MAX_BYTES: usize = 256;

/// Why a password cannot be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weak {
    Length,
    IsName,
}

/// Whether a user of this name may have it.
pub fn check(password: &str, name: &str) -> Result<(), Weak> {
    if password.chars().count() < MIN_CHARS || password.len() > MAX_BYTES {
        return Err(Weak::Length);
    }
    if password.eq_ignore_ascii_case(name) { Err(Weak::IsName) } else { Ok(()) }
}

/// Hashes passwords, a few at once.
///
/// A hash that has begun goes on when its request is dropped: it holds its permits, not the request.
#[derive(Debug)]
pub struct Passwords {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Passwords {
        let permits = |count| Arc::new(Semaphore::new(count));
        Passwords { running: permits(AT_ONCE), waiting: permits(AT_ONCE + WAITING) }
    }
}

impl Passwords {
    /// The form in which a password is stored: `$argon2id$v=19$m=…,t=…,p=…$SALT$HASH`.
    pub async fn hash(&self, password: Secret) -> Result<String, Fault> {
        self.run(move || stored(&password, &random_text(22))).await
    }

    /// Whether it is the stored one. Takes the same time where none is stored.
    pub async fn is(&self, password: Secret, stored_form: Option<String>) -> Result<bool, Fault> {
        self.run(move || {
            // Too long for a password: hashed all the same, for the time it takes.
            let is_possible = password.expose().len() <= MAX_BYTES;
            let salt = stored_form.as_deref().and_then(salt);
            let hashed = stored(&password, salt.as_deref().unwrap_or("no user has this salt."))?;
            let same: bool = hashed.as_bytes().ct_eq(stored_form.as_deref().unwrap_or_default().as_bytes()).into();
            Ok(same && is_possible)
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Fault::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let permits = (waiting, running.map_err(|e| Fault::Internal(e.to_string()))?);
        let work = move || {
            let _permits = permits;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| Fault::Internal(e.to_string()))?
    }
}

fn salt(stored: &str) -> Option<String> {
    let bytes = STANDARD_NO_PAD.decode(stored.split('$').nth(4)?).ok()?;
    String::from_utf8(bytes).ok()
}

fn stored(password: &Secret, salt: &str) -> Result<String, Fault> {
    let failed = |e: argon2::Error| Fault::Internal(format!("argon2: {e}"));
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(failed)?;
    let mut hash = [0u8; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose().as_bytes(), salt.as_bytes(), &mut hash)
        .map_err(failed)?;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    Ok(format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}"))
}
