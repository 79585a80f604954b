//! The merchant's client certificate, which `/secapi/*` requires: from the merchant platform's files to one identity.
//!
//! There are two forms: `apiclient_cert.pem` with `apiclient_key.pem`, or `apiclient_cert.p12`, whose password is
//! the `mch_id` and whose encryption is legacy (SHA-1 with 3DES and 40-bit RC2) or current. It opens
//! no connection and holds no trust anchors: which certificates of WeChat's servers are trusted is `transport`'s
//! concern.
//!
//! What must stay true: an identity is a certificate together with its own key, for one merchant; no key is in an error
//! or in `Debug`.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::{Clock, Timestamp};
use crate::config::{CertificateFiles, Problem, is_pkcs12};
use crate::ids::MchId;
use crate::secret::Secret;

/// Upper bound of a file; larger than any key or chain of certificates.
const MAX_BYTES: u64 = 64 * 1024;

/// How long before its expiry a certificate causes a warning, in milliseconds: thirty days.
const WARN_MS: i64 = 30 * 24 * 3600 * 1000;

/// Why files cannot be used as a merchant's identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The certificate's file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// The key's file cannot be read.
    #[error("cannot be read: {0}")]
    KeyUnreadable(String),
    /// No PEM certificate, or one that is not X.509.
    #[error("holds no readable certificate in PEM: use apiclient_cert.pem of the merchant platform")]
    NoCertificate,
    /// No PEM key, or one of a kind that cannot sign.
    #[error("holds no readable private key in PEM: use apiclient_key.pem of the merchant platform")]
    NoKey,
    /// The key is encrypted, and no password can be configured.
    #[error("is encrypted: decrypt it with `openssl pkey -in KEY -out apiclient_key.pem`")]
    KeyEncrypted,
    /// Not PKCS #12, another password than the `mch_id`, or an insecure encryption.
    #[error(
        "is not a PKCS #12 file with the mch_id as its password ({0}); convert it with \
         `openssl pkcs12 -legacy -in FILE -nodes -clcerts -out BOTH.pem` and name that file as client_cert_file and \
         client_key_file"
    )]
    Pkcs12(String),
    /// The key does not belong to the certificate.
    #[error("is not the key of the certificate: both must come from the same download")]
    KeyDiffers,
    /// The certificate is another merchant's.
    #[error("is the certificate of {common_name:?}, not of this mch_id")]
    OtherMerchant {
        /// The subject's common name, where WeChat puts the `mch_id`.
        common_name: String,
    },
}

impl CertificateError {
    /// Whether the key is at fault and not the certificate.
    pub const fn is_about_the_key(&self) -> bool {
        match self {
            CertificateError::KeyUnreadable(_)
            | CertificateError::NoKey
            | CertificateError::KeyEncrypted
            | CertificateError::KeyDiffers => true,
            CertificateError::Unreadable(_)
            | CertificateError::NoCertificate
            | CertificateError::Pkcs12(_)
            | CertificateError::OtherMerchant { .. } => false,
        }
    }
}

/// Whether a certificate may be used at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Valid for at least thirty days.
    Good,
    /// Expires at this time, in less than thirty days: a new one must be downloaded.
    EndsSoon(Timestamp),
    /// Expired at this time.
    Expired(Timestamp),
    /// Not valid before this time: usually the host's clock is wrong.
    NotYet(Timestamp),
}

/// A merchant's certificate with its key.
pub struct MerchantCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl fmt::Debug for MerchantCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MerchantCertificate").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Checks for the configuration that a merchant's files belong together and to the merchant, and until when.
///
/// An expired certificate stops refunds and nothing else: a process restarted on that day must still receive payments.
pub fn check(files: &CertificateFiles<'_>) -> Result<Option<Problem>, Problem> {
    let certificate = MerchantCertificate::read(files.certificate, files.key, files.mch_id).map_err(|error| {
        let key = if error.is_about_the_key() { "client_key_file" } else { "client_cert_file" };
        Problem::new(key, error.to_string())
    })?;
    let mend = "download a new one in the merchant platform";
    let warning = match certificate.validity(Clock::system().now()) {
        Validity::Good => return Ok(None),
        Validity::EndsSoon(at) => format!("expires at {at}, and then refunds stop: {mend}"),
        Validity::Expired(at) => format!("has expired at {at}, and WeChat takes no refund with it: {mend}"),
        Validity::NotYet(at) => format!("is not valid before {at}: is this host's clock right?"),
    };
    Ok(Some(Problem::new("client_cert_file", warning)))
}

impl MerchantCertificate {
    /// Reads this merchant's files: PEM with the key's file, or PKCS #12 by its ending, which holds the key itself.
    pub fn read(
        cert_file: &Path,
        key_file: Option<&Path>,
        mch_id: &MchId,
    ) -> Result<MerchantCertificate, CertificateError> {
        let certificate = bytes(cert_file).map_err(CertificateError::Unreadable)?;
        if is_pkcs12(cert_file) {
            return MerchantCertificate::from_pkcs12(&certificate, mch_id);
        }
        let key = match key_file {
            Some(file) => bytes(file).map_err(CertificateError::KeyUnreadable)?,
            None => return Err(CertificateError::NoKey),
        };
        MerchantCertificate::from_pem(&certificate, &key, mch_id)
    }

    /// From PEM texts. Other sections than certificates in the one and a key in the other are skipped, so both may be
    /// the same text.
    pub fn from_pem(certificate: &[u8], key: &[u8], mch_id: &MchId) -> Result<MerchantCertificate, CertificateError> {
        let chain: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(certificate).collect();
        let chain = chain.map_err(|_| CertificateError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
            let encrypted = |marker: &[u8]| key.windows(marker.len()).any(|window| window == marker);
            if encrypted(b"BEGIN ENCRYPTED PRIVATE KEY") || encrypted(b"Proc-Type: 4,ENCRYPTED") {
                CertificateError::KeyEncrypted
            } else {
                CertificateError::NoKey
            }
        })?;
        MerchantCertificate::new(chain, key, mch_id)
    }

    /// From a PKCS #12 file as the merchant platform makes it: its password is the `mch_id`.
    pub fn from_pkcs12(file: &[u8], mch_id: &MchId) -> Result<MerchantCertificate, CertificateError> {
        let store = KeyStore::from_pkcs12(file, mch_id.as_str(), Pkcs12ImportPolicy::Relaxed)
            .map_err(|error| CertificateError::Pkcs12(error.to_string()))?;
        let (_, entry) =
            store.private_key_chain().ok_or_else(|| CertificateError::Pkcs12("it holds no private key".into()))?;
        let chain = entry.certs().iter().map(|c| CertificateDer::from(c.as_der().to_vec())).collect();
        let key = PrivatePkcs8KeyDer::from(entry.key().as_der().to_vec());
        MerchantCertificate::new(chain, key.into(), mch_id)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        mch_id: &MchId,
    ) -> Result<MerchantCertificate, CertificateError> {
        let own = chain.first().ok_or(CertificateError::NoCertificate)?;
        let (_, facts) = X509Certificate::from_der(own).map_err(|_| CertificateError::NoCertificate)?;
        let common_name =
            facts.subject().iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
        if common_name != mch_id.as_str() {
            let common_name = common_name.chars().take(64).collect();
            return Err(CertificateError::OtherMerchant { common_name });
        }
        let moment = |seconds: i64| Timestamp::from_ms(seconds.saturating_mul(1000));
        let not_before = moment(facts.validity().not_before.timestamp());
        let not_after = moment(facts.validity().not_after.timestamp());
        match CertifiedKey::from_der(chain.clone(), key.clone_key(), &default_provider()) {
            Ok(_) => Ok(MerchantCertificate { chain, key, not_before, not_after }),
            Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::KeyDiffers),
            Err(_) => Err(CertificateError::NoKey),
        }
    }

    /// When it expires.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it may be used now.
    pub fn validity(&self, now: Timestamp) -> Validity {
        if now < self.not_before {
            Validity::NotYet(self.not_before)
        } else if now > self.not_after {
            Validity::Expired(self.not_after)
        } else if self.not_after.as_ms().saturating_sub(now.as_ms()) < WARN_MS {
            Validity::EndsSoon(self.not_after)
        } else {
            Validity::Good
        }
    }

    /// Certificates and key as one PEM text, as the HTTP client takes them.
    pub(super) fn to_pem(&self) -> Secret {
        let mut text = String::new();
        for certificate in &self.chain {
            section(&mut text, "CERTIFICATE", certificate);
        }
        let kind = match &self.key {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            // A form of key that does not exist yet: left to the client to refuse.
            PrivateKeyDer::Pkcs8(_) | _ => "PRIVATE KEY",
        };
        section(&mut text, kind, self.key.secret_der());
        Secret::new(text)
    }
}

fn section(text: &mut String, kind: &str, der: &[u8]) {
    text.push_str(&format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", STANDARD.encode(der)));
}

fn bytes(file: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|open| open.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(n) if u64::try_from(n).is_ok_and(|n| n <= MAX_BYTES) => Ok(bytes),
        Ok(_) => Err(format!("{} is larger than 64 KiB: not a key or certificate", file.display())),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}
