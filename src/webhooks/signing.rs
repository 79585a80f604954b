//! Secrets and signatures of the Standard Webhooks specification: `whsec_` and base64; `v1,` and the base64 of
//! HMAC-SHA-256 over `{id}.{timestamp}.{body}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::clock::Timestamp;
use crate::secret::{Secret, hmac_sha256, random_bytes};

const PREFIX: &str = "whsec_";
/// The bytes of a new key; the specification allows 24 to 64.
const KEY_BYTES: usize = 32;

/// What an endpoint's messages are signed with.
#[derive(Debug, Clone)]
pub struct SigningSecret(Secret);

impl SigningSecret {
    /// A fresh one.
    pub fn random() -> SigningSecret {
        SigningSecret(Secret::new(format!("{PREFIX}{}", STANDARD.encode(random_bytes::<KEY_BYTES>()))))
    }

    /// One that was made before.
    pub fn parse(text: &str) -> Option<SigningSecret> {
        let key = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        (24..=64).contains(&key.len()).then(|| SigningSecret(Secret::new(text)))
    }

    /// The text, to be shown once.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    fn key(&self) -> Vec<u8> {
        STANDARD.decode(self.0.expose().trim_start_matches(PREFIX)).unwrap_or_default()
    }
}

/// The header `webhook-signature`: one signature by each secret.
pub fn signatures(secrets: &[SigningSecret], id: &str, at: Timestamp, body: &str) -> String {
    let signed = format!("{id}.{}.{body}", at.as_seconds());
    let sign =
        |secret: &SigningSecret| format!("v1,{}", STANDARD.encode(hmac_sha256(&secret.key(), signed.as_bytes())));
    secrets.iter().map(sign).collect::<Vec<_>>().join(" ")
}
