//! Sealing: what only this installation can read or make, for cookies in a browser and secrets in a row.
//!
//! AES-256-GCM under a key derived (HKDF-SHA-256) from the configured secret, one key per purpose: a sealed text of one
//! purpose does not open under another, and neither does one whose context differs or of which a single byte was
//! changed. It is not a place for anything that must be revoked: what was sealed opens until the secret changes.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::secret::Secret;

/// A key for one purpose.
#[derive(Debug)]
pub struct SealKey(RandomizedNonceKey);

/// The text was not sealed by this key for this purpose and context, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not sealed here, or changed")]
pub struct NotSealed;

/// The cryptography refused to work: too long a text, or no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot seal")]
pub struct CannotSeal;

impl SealKey {
    /// The key for `purpose`, a short fixed name like `session`.
    pub fn derive(secret: &Secret, purpose: &'static str) -> Result<SealKey, CannotSeal> {
        let derived = Salt::new(HKDF_SHA256, b"wxpay-worker/seal/v1").extract(secret.expose().as_bytes());
        let purpose = [purpose.as_bytes()];
        let mut key = [0u8; 32];
        derived.expand(&purpose, HKDF_SHA256).and_then(|okm| okm.fill(&mut key)).map_err(|_| CannotSeal)?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).map(SealKey).map_err(|_| CannotSeal)
    }

    /// Seals `plain`; the answer is URL-safe and is opened with the same `context` only (what row or field it belongs
    /// to).
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<String, CannotSeal> {
        let mut sealed = plain.to_vec();
        let aad = Aad::from(context.as_bytes());
        let nonce = self.0.seal_in_place_append_tag(aad, &mut sealed).map_err(|_| CannotSeal)?;
        let mut whole = nonce.as_ref().to_vec();
        whole.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(whole))
    }

    /// Opens what [`SealKey::seal`] made.
    pub fn open(&self, context: &str, sealed: &str) -> Result<Vec<u8>, NotSealed> {
        let mut whole = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| NotSealed)?;
        if whole.len() < NONCE_LEN {
            return Err(NotSealed);
        }
        let mut body = whole.split_off(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(&whole).map_err(|_| NotSealed)?;
        let plain = self.0.open_in_place(nonce, Aad::from(context.as_bytes()), &mut body).map_err(|_| NotSealed)?;
        Ok(plain.to_vec())
    }
}
