//! A merchant's certificate as the simulator makes it, in files of a test's own.

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

/// The files, and where they are shown.
pub struct Certificates {
    folder: TempDir,
    refund_url: String,
}

impl Certificates {
    /// Fetches those of a merchant.
    pub async fn of(wechat_url: &str, mch_id: &str) -> Certificates {
        let url = format!("{wechat_url}/_sandbox/certificates/{mch_id}");
        let bytes = reqwest::get(url).await.unwrap().bytes().await.unwrap();
        let issued: Value = serde_json::from_slice(&bytes).unwrap();
        let folder = TempDir::new().unwrap();
        for name in ["apiclient_cert.pem", "apiclient_key.pem", "ca.pem"] {
            let file = folder.path().join(name);
            std::fs::write(&file, issued[name].as_str().unwrap()).unwrap();
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        Certificates { folder, refund_url: issued["refund_base_url"].as_str().unwrap().to_owned() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The lines of the merchant's entry.
    pub fn merchant_toml(&self) -> String {
        let (cert, key) = (self.file("apiclient_cert.pem"), self.file("apiclient_key.pem"));
        format!("client_cert_file = {cert:?}\nclient_key_file = {key:?}\n")
    }

    /// The lines of `[wechat]`.
    pub fn wechat_toml(&self) -> String {
        format!("refund_url = \"{}\"\npay_ca_file = {:?}\n", self.refund_url, self.file("ca.pem"))
    }
}
