//! Secrets and files: `x` in the configuration or the environment, or `x_file` that names a file. What is read here is
//! shown as `***` and never quoted in a problem.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml::Value;

use super::api_key::KeyHash;
use super::layers::{Node, Origin};
use super::reader::{CHANGE_ME, Reader, unfilled};
use super::sections::CertificateFiles;
use crate::clock::Timestamp;
use crate::ids::MchId;
use crate::secret::Secret;

/// Larger than any key or certificate chain.
const MAX_BYTES: u64 = 64 * 1024;

impl Reader<'_> {
    /// A secret that must be there.
    pub(super) fn required_secret<T>(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let secret = self.secret(key, file_key, parse)?;
        if secret.is_none() {
            self.problem(key, format!("is missing: give {key}, or {file_key} with the path of a file that holds it"));
        }
        secret
    }

    /// A secret that may be missing.
    ///
    /// Between `key` and `file_key` the layer that wins is the later one, so that the environment can replace a file
    /// named in the configuration by the secret itself and the other way round.
    pub(super) fn secret<T>(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        self.either(key, file_key, |_| "***".to_owned(), parse)
    }

    /// A URL that must be there and may hold a password; shown without it.
    pub(super) fn required_url<T>(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let url = self.secret_url(key, file_key, parse)?;
        if url.is_none() {
            self.problem(key, "is missing".into());
        }
        url
    }

    /// A URL that may be missing and may hold a password; shown without it.
    pub(super) fn secret_url<T>(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        self.either(key, file_key, super::address::masked, parse)
    }

    /// The SHA-256 of a key as `sha256:` and 64 lower-case hex digits; the digits. Never quoted: people paste the key
    /// itself.
    pub(super) fn digest(&mut self, key: &'static str) -> Option<String> {
        let Some((text, origin)) = self.secret_text(key)? else {
            self.problem(key, "is missing: the SHA-256 of a random key, such as `openssl rand -hex 24` makes".into());
            return None;
        };
        if text == CHANGE_ME {
            self.problem(key, unfilled());
            return None;
        }
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            let rule = "must be \"sha256:\" and the 64 lower-case hex digits of the SHA-256 of the key's bytes, never \
                        the key itself";
            self.problem(key, rule.into());
            return None;
        }
        if hex == crate::secret::sha256_hex(b"") {
            self.problem(key, "is the hash of an empty key".into());
            return None;
        }
        self.shown_for(key, format!("\"sha256:{}…\"", &hex[..8]), &origin, hex.as_bytes());
        Some(hex.to_owned())
    }

    fn either<T>(
        &mut self,
        key: &'static str,
        file_key: &'static str,
        show: impl FnOnce(&str) -> String,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let direct = self.secret_text(key);
        let named = self.secret_text(file_key);
        let (direct, named) = (direct?, named?);
        let layers = [&direct, &named].map(|found| found.as_ref().map(|(_, origin)| layer(origin)));
        let (text, from) = match (direct, named) {
            (None, None) => return Some(None),
            (Some(_), Some(_)) if layers[0] == layers[1] => {
                self.problem(key, format!("is given twice: keep either {key} or {file_key}"));
                return None;
            }
            (Some((text, origin)), _) if layers[0] > layers[1] => {
                if origin == Origin::File {
                    let at = self.at(key);
                    self.report.inline_secrets.push(at);
                }
                self.shown_for(key, super::explain::quoted(&show(&text)), &origin, text.as_bytes());
                (text, key)
            }
            (_, named) => {
                let (path, origin) = named?;
                let shown = super::explain::quoted(&path);
                let path = self.resolve(&path, &origin);
                let text = self.read_text(file_key, &path)?;
                self.shown_for(file_key, shown, &origin, text.as_bytes());
                self.warn_if_open(file_key, &path);
                if text.trim() == CHANGE_ME {
                    self.problem(file_key, unfilled_file(&path));
                    return None;
                }
                // Editors and `echo` end a file with a newline that is not part of the secret.
                (text.trim_end_matches(['\r', '\n']).to_owned(), file_key)
            }
        };
        if text.is_empty() {
            self.problem(from, "is empty: the file holds no secret".into());
            return None;
        }
        if text == CHANGE_ME {
            self.problem(from, unfilled());
            return None;
        }
        match parse(&text) {
            Ok(secret) => Some(Some(secret)),
            Err(problem) => {
                self.problem(from, problem);
                None
            }
        }
    }

    /// The path of a file that must hold `marker`, if one is named.
    pub(super) fn pem_file(&mut self, key: &'static str, marker: &str) -> Option<Option<PathBuf>> {
        let Some((path, origin)) = self.secret_text(key)? else { return Some(None) };
        let resolved = self.resolve(&path, &origin);
        self.pem_at(key, (&path, &origin), resolved, marker).map(Some)
    }

    /// The same with a default beside the configuration file, and how to mend it when that is missing.
    pub(super) fn pem_file_or(
        &mut self,
        key: &'static str,
        default: &str,
        marker: &str,
        mend: impl FnOnce() -> String,
    ) -> Option<PathBuf> {
        if let Some((path, origin)) = self.secret_text(key)? {
            let resolved = self.resolve(&path, &origin);
            return self.pem_at(key, (&path, &origin), resolved, marker);
        }
        let path = self.report.folder.join(default);
        if !path.exists() {
            self.problem(key, format!("{} is not there: {}", path.display(), mend()));
            return None;
        }
        self.pem_at(key, (default, &Origin::Default), path, marker)
    }

    fn pem_at(
        &mut self,
        key: &'static str,
        (named, origin): (&str, &Origin),
        path: PathBuf,
        marker: &str,
    ) -> Option<PathBuf> {
        let bytes = self.read_bytes(key, &path)?;
        self.shown_for(key, super::explain::quoted(named), origin, &bytes);
        let text = String::from_utf8_lossy(&bytes);
        if text.trim() == CHANGE_ME {
            self.problem(key, unfilled_file(&path));
            return None;
        }
        if !is_pkcs12(&path) && !text.contains(marker) {
            self.problem(key, format!("is not the right file: PEM with \"{marker}\" is expected"));
            return None;
        }
        Some(path)
    }

    /// Has the files of a merchant's certificate checked. Files that have a problem of their own are left alone.
    pub(super) fn certificate(
        &mut self,
        cert_file: Option<&Option<PathBuf>>,
        key_file: Option<&Option<PathBuf>>,
        mch_id: Option<&MchId>,
    ) {
        let (Some(Some(certificate)), Some(key), Some(mch_id)) = (cert_file, key_file, mch_id) else { return };
        if key.is_none() != is_pkcs12(certificate) {
            return;
        }
        let Some(check) = self.report.check_certificate else { return };
        match check(&CertificateFiles { certificate, key: key.as_deref(), mch_id }) {
            Ok(None) => {}
            Ok(Some(warning)) => self.warning(&warning.key, warning.text),
            Err(problem) => self.problem(&problem.key, problem.text),
        }
    }

    /// The path of a file that must be readable, if one is named.
    pub(super) fn path(&mut self, key: &'static str) -> Option<Option<PathBuf>> {
        self.pem_file(key, "")
    }

    /// Warns about a file that every user of the host can read or change.
    pub(super) fn warn_if_open(&mut self, key: &str, path: &Path) {
        if is_open(path) {
            self.warning(key, format!("{} is open to every user of this host; chmod o= it", path.display()));
        }
    }

    /// A non-empty text and its layer; unlike [`Reader::optional`] it is never listed.
    fn secret_text(&mut self, key: &'static str) -> Option<Option<(String, Origin)>> {
        match self.find(key)? {
            None => Some(None),
            Some((Value::String(text), _)) if text.is_empty() => Some(None),
            Some((Value::String(text), origin)) => Some(Some((text.clone(), origin.clone()))),
            Some(_) => {
                self.problem(key, "must be a text in quotes".into());
                None
            }
        }
    }

    fn read_text(&mut self, key: &'static str, path: &Path) -> Option<String> {
        let text = String::from_utf8(self.read_bytes(key, path)?).ok();
        if text.is_none() {
            self.problem(key, format!("{} is not a text file", path.display()));
        }
        text
    }

    fn read_bytes(&mut self, key: &'static str, path: &Path) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Ok(n) if u64::try_from(n).is_ok_and(|n| n <= MAX_BYTES) => Some(bytes),
            Ok(_) => {
                self.problem(key, format!("{} is larger than 64 KiB: not a key or certificate", path.display()));
                None
            }
            Err(error) => {
                self.problem(key, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }

    /// Whether a key has a value in the tree, whatever it is worth.
    pub(super) fn has(&self, key: &str) -> bool {
        match self.table.get(key) {
            None => false,
            Some(Node::Value(Value::String(text), _)) => !text.is_empty(),
            Some(Node::Value(..) | Node::Table(_) | Node::List(_)) => true,
        }
    }
}

fn unfilled_file(path: &Path) -> String {
    format!("{} still holds {CHANGE_ME}: put the real content there", path.display())
}

/// `hash`, or `hashes` with the times until which they count.
pub(super) fn key_hashes(r: &mut Reader<'_>) -> Option<Vec<KeyHash>> {
    let several = r.entries("hashes", |r| {
        let sha256 = r.digest("hash");
        let until = r.optional("until", |text| {
            Timestamp::parse_rfc3339(text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z".to_owned())
        });
        Some(KeyHash { sha256: sha256?, until: until? })
    });
    // An empty list says as little as none.
    if !r.is_list("hashes") {
        return r.digest("hash").map(|sha256| vec![KeyHash { sha256, until: None }]);
    }
    if r.has("hash") {
        r.digest("hash");
        r.problem("hash", "is given twice: keep either hash or hashes".into());
        return None;
    }
    Some(several)
}

/// A shared secret of at least `min` visible characters that is not one character over and over.
pub(super) fn strong(text: &str, min: usize) -> Result<Secret, String> {
    if text.len() < min || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("must be at least {min} letters, digits or signs without blanks"));
    }
    varied(text).map(|()| Secret::new(text))
}

/// Refuses the likes of `aaaa…` and `12121212…`: a random key has at least eight different characters.
pub(super) fn varied(text: &str) -> Result<(), String> {
    let mut different: Vec<u8> = text.bytes().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < 8 {
        return Err("is weak: fewer than eight different characters; make a random one".into());
    }
    Ok(())
}

fn layer(origin: &Origin) -> u8 {
    match origin {
        Origin::Default => 0,
        Origin::File => 1,
        Origin::Environment(_) => 2,
    }
}

/// Whether users other than the owner and the group may read or write the file.
#[cfg(unix)]
pub(super) fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o006 != 0)
}

/// Hosts without Unix permissions are not judged.
#[cfg(not(unix))]
pub(super) fn is_open(_path: &Path) -> bool {
    false
}

/// Whether a path names a PKCS #12 file: certificate and key in one.
pub fn is_pkcs12(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("p12") || e.eq_ignore_ascii_case("pfx"))
}
