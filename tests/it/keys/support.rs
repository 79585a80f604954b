//! A service with a key of the scope `admin`.

use serde_json::Value;
use wxpay_worker::secret::sha256_hex;

use crate::harness::service::{InProcess, TestService, answer};

/// May make keys for one merchant.
pub const ADMIN: &str = "wxk_admin_of_main";

/// An entry of the configuration's file.
pub fn entry(key: &str, lines: &str) -> String {
    format!("[[api_keys]]\nhash = \"sha256:{}\"\n{lines}\n", sha256_hex(key.as_bytes()))
}

pub fn with_admin(service: TestService) -> TestService {
    let lines = "name = \"admin\"\nscopes = [\"orders\", \"ops\", \"admin\"]\nmerchants = [\"main\"]";
    service.config(&entry(ADMIN, lines))
}

impl InProcess {
    pub async fn get_by(&self, key: &str, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.base)).bearer_auth(key)).await.unwrap()
    }

    pub async fn post_by(&self, key: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(key);
        answer(request.header("content-type", "application/json").body(body.to_string())).await.unwrap()
    }

    /// The results of an action in the audit, oldest first.
    pub async fn audited(&self, action: &str) -> Vec<String> {
        let sql = format!("SELECT result FROM audit WHERE action = '{action}' ORDER BY id");
        crate::harness::sql::texts(self.store.db(), &sql).await
    }

    /// The id in the list of the key with this name.
    pub async fn key_named(&self, name: &str) -> Value {
        let (status, list) = self.get_by(ADMIN, "/v1/ops/keys").await;
        assert_eq!(status, 200, "{list}");
        let keys = list["keys"].as_array().unwrap();
        keys.iter().find(|key| key["name"] == name).unwrap_or_else(|| panic!("{name}: {list}")).clone()
    }
}
