//! Money above an amount: credited or refunded once a second person has approved it, and then once.

mod changed;
mod console;
mod ctl;
mod held;
mod killed;
mod makers;
mod refunds;

use serde_json::{Value, json};
use wxpay_worker::secret::sha256_hex;

use crate::harness::service::{InProcess, TestService};

/// Asks for what takes a second person.
const DESK: &str = "the-key-of-the-refund-desk";
/// The next key of the same client, under another name.
const NEW_DESK: &str = "the-next-key-of-the-desk";
/// Decides.
const LEAD: &str = "the-key-of-the-lead";
/// Decides as well.
const BOSS: &str = "the-key-of-the-boss";
/// May decide about held money alone.
const CLERK: &str = "the-key-of-a-clerk";

/// 60 fen are one person's.
fn limits() -> String {
    let [desk, new, lead, boss, clerk] =
        [DESK, NEW_DESK, LEAD, BOSS, CLERK].map(|key| format!("sha256:{}", sha256_hex(key.as_bytes())));
    let all = "scopes = [\"orders\", \"refunds\", \"ops\"]\nmerchants = \"all\"";
    format!(
        r#"
        [limits]
        second_person_fen = 60
        second_person_hours = 24
        [console]
        enabled = true
        [[api_keys]]
        name = "desk"
        id = "desk"
        hashes = [{{ hash = "{desk}" }}, {{ hash = "{new}" }}]
        scopes = ["orders", "refunds", "ops", "admin"]
        merchants = "all"
        [[api_keys]]
        name = "lead"
        hash = "{lead}"
        {all}
        [[api_keys]]
        name = "boss"
        hash = "{boss}"
        {all}
        [[api_keys]]
        name = "clerk"
        hash = "{clerk}"
        scopes = ["ops"]
        merchants = "all"
        "#
    )
}

fn service() -> TestService {
    TestService::new().refunds().config(&limits())
}

impl InProcess {
    async fn desk_wants(&self, order_no: &str, body: &Value) -> (u16, Value) {
        self.post_by(DESK, &format!("/v1/orders/{order_no}/refunds"), body).await
    }

    /// A refund that waits; the id of its request.
    async fn waiting(&self, order_no: &str, refund_no: &str, fen: i64) -> i64 {
        let (status, refund) = self.desk_wants(order_no, &json!({"refund_no": refund_no, "amount_fen": fen})).await;
        assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
        refund["approval"]["id"].as_i64().unwrap()
    }

    async fn decided(&self, key: &str, id: i64, decision: &str) -> (u16, Value) {
        let path = format!("/v1/ops/approvals/{id}/{decision}");
        self.post_by(key, &path, &json!({"reason": "checked with the shop"})).await
    }

    async fn refunds_here(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM refunds").await
    }
}
