//! The files of a merchant's certificate. Here they are paths; who can parse certificates hands a check to
//! [`super::Config::load`], so that its problems are reported together with all others.

use std::path::Path;

use super::problem::Problem;
use crate::ids::MchId;

/// The files of a merchant's certificate, each of which could be read.
#[derive(Debug, Clone, Copy)]
pub struct CertificateFiles<'a> {
    /// PEM, or a `.p12` that holds the key too.
    pub certificate: &'a Path,
    /// The key's file; none with a `.p12`.
    pub key: Option<&'a Path>,
    /// The merchant it must belong to.
    pub mch_id: &'a MchId,
}

/// Checks a merchant's files. The answer is a warning or a problem of `client_cert_file` or `client_key_file`.
pub type CertificateCheck = fn(&CertificateFiles<'_>) -> Result<Option<Problem>, Problem>;

/// Whether a path names a PKCS #12 file: certificate and key in one.
pub fn is_pkcs12(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("p12") || e.eq_ignore_ascii_case("pfx"))
}
