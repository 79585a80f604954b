//! The simulator's certificate authority: its own certificate, its server's, and one for each merchant.
//!
//! Merchants' certificates look like WeChat's: an RSA key, the `mch_id` as the subject's common name, and a PKCS #12
//! file under the names and with the password that the merchant platform uses. The dates are fixed and wide, so that a
//! test with any clock can use them.
//!
//! What must stay true: with a folder, the authority outlives the process, and what was trusted before a restart still
//! is.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use p12_keystore::{EncryptionAlgorithm, KeyStore, KeyStoreEntry, MacAlgorithm, PrivateKey, PrivateKeyChain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ids::MchId;

/// What a merchant downloads from the merchant platform.
pub(in crate::sandbox) struct Issued {
    pub cert_pem: String,
    pub key_pem: String,
    /// Certificate, its authority and the key; the password is the `mch_id`.
    pub p12: Vec<u8>,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub(in crate::sandbox) enum IssueError {
    #[error("{0}")]
    Certificate(#[from] rcgen::Error),
    #[error("PKCS #12: {0}")]
    Pkcs12(#[from] p12_keystore::error::Error),
    #[error("{0}")]
    File(#[from] io::Error),
}

/// The authority and what it has issued.
pub(in crate::sandbox) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    /// Whether an earlier process may have issued what is in the folder.
    is_kept: bool,
    // Made on first use: most simulators never need one.
    issued: Mutex<HashMap<MchId, Arc<Issued>>>,
}

impl Authority {
    /// The authority of a folder, which is made if it is not there, or one that lives as long as the process.
    pub fn open(folder: Option<&Path>) -> Result<Authority, IssueError> {
        let Some(folder) = folder else { return Authority::new(KeyPair::generate()?, false) };
        std::fs::create_dir_all(folder)?;
        let file = folder.join("ca_key.pem");
        match std::fs::read_to_string(&file) {
            Ok(pem) => Authority::new(KeyPair::from_pem(&pem)?, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let authority = Authority::new(KeyPair::generate()?, false)?;
                write(&file, authority.issuer.key().serialize_pem().as_bytes())?;
                Ok(authority)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn new(key: KeyPair, is_kept: bool) -> Result<Authority, IssueError> {
        let mut params = subject("wxpay-sandbox test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Authority { issuer: Issuer::new(params, key), certificate, is_kept, issued: Mutex::default() })
    }

    /// The authority's own certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// The same as PEM: what a client must trust.
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// A server's certificate for these names and addresses, and its key.
    pub fn server(
        &self,
        names: Vec<String>,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
        let mut params = subject("wxpay-sandbox");
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    /// A merchant's certificate, the same one each time.
    pub fn merchant(&self, mch_id: &MchId) -> Result<Arc<Issued>, IssueError> {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = issued.get(mch_id) {
            return Ok(Arc::clone(known));
        }
        let mut params = subject(mch_id.as_str());
        params.distinguished_name.push(DnType::OrganizationName, "wxpay-sandbox merchant");
        params.distinguished_name.push(DnType::CountryName, "CN");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let new = Arc::new(Issued {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            p12: self.pkcs12(mch_id, &certificate, &key)?,
        });
        issued.insert(mch_id.clone(), Arc::clone(&new));
        Ok(new)
    }

    /// As the merchant platform makes it: encrypted the old way, for the oldest of libraries.
    fn pkcs12(&self, mch_id: &MchId, own: &rcgen::Certificate, key: &KeyPair) -> Result<Vec<u8>, IssueError> {
        let chain = [own.der(), self.certificate()]
            .into_iter()
            .map(|der| p12_keystore::Certificate::from_der(der))
            .collect::<Result<Vec<_>, _>>()?;
        let entry = PrivateKeyChain::new(vec![1], PrivateKey::from_der(&key.serialize_der())?, chain);
        let mut store = KeyStore::new();
        store.add_entry("Tenpay Certificate", KeyStoreEntry::PrivateKeyChain(entry));
        Ok(store
            .writer(mch_id.as_str())
            .encryption_algorithm(EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc)
            .encryption_iterations(2048)
            .mac_algorithm(MacAlgorithm::HmacSha1)
            .mac_iterations(2048)
            .write()?)
    }

    /// Writes `ca.pem` and each merchant's three files: into the folder itself when there is one merchant, into one
    /// named by its `mch_id` when there are several. Files that this authority wrote before stay as they are: a service
    /// may be reading them.
    pub fn write_to<'m>(
        &self,
        folder: &Path,
        merchants: impl ExactSizeIterator<Item = &'m MchId>,
    ) -> Result<(), IssueError> {
        write(&folder.join("ca.pem"), self.pem().as_bytes())?;
        let alone = merchants.len() == 1;
        for mch_id in merchants {
            let own = if alone { folder.to_owned() } else { folder.join(mch_id.as_str()) };
            std::fs::create_dir_all(&own)?;
            if let Some(kept) = kept(&own, mch_id).filter(|_| self.is_kept) {
                let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
                issued.insert(mch_id.clone(), Arc::new(kept));
                continue;
            }
            let issued = self.merchant(mch_id)?;
            write(&own.join("apiclient_cert.pem"), issued.cert_pem.as_bytes())?;
            write(&own.join("apiclient_key.pem"), issued.key_pem.as_bytes())?;
            write(&own.join("apiclient_cert.p12"), &issued.p12)?;
        }
        Ok(())
    }
}

/// Makes the authority of a folder and the files of these merchants, where they are missing: before a simulator runs.
pub fn make_certificates(folder: &Path, merchants: &[MchId]) -> Result<(), String> {
    let made = Authority::open(Some(folder)).and_then(|authority| authority.write_to(folder, merchants.iter()));
    made.map_err(|error| format!("{}: {error}", folder.display()))
}

/// What stands in a folder of this merchant's, when all of it does.
fn kept(folder: &Path, mch_id: &MchId) -> Option<Issued> {
    let text = |name| std::fs::read_to_string(folder.join(name)).ok();
    let (cert_pem, key_pem) = (text("apiclient_cert.pem")?, text("apiclient_key.pem")?);
    let p12 = std::fs::read(folder.join("apiclient_cert.p12")).ok()?;
    let own = CertificateDer::from_pem_slice(cert_pem.as_bytes()).ok()?;
    (common_name(&own)? == mch_id.as_str()).then_some(Issued { cert_pem, key_pem, p12 })
}

/// The subject's common name: in a merchant's certificate, its `mch_id`.
pub(in crate::sandbox) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

fn subject(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// A whole file or none, for its owner only: a service may read it at any moment.
fn write(file: &Path, content: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&new)?.write_all(content)?;
    std::fs::rename(new, file)
}
