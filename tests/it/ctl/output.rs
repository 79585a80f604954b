//! What is printed: for people, for programs, into a pipe.

use serde_json::json;
use wxpay_worker::secret::sha256_hex;

use super::support::{Operator, run, wxpayctl};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_for_people_and_json_for_programs() {
    let operator = Operator::new().await;
    operator.service.place(&operator.process.base, "CTL00002", 123_456).await;
    operator.service.pay("CTL00002").await;
    operator.service.until_state(&operator.process.base, "CTL00002", "paid").await;
    operator.service.until_drained().await;

    let order = operator.run(&["orders", "show", "CTL00002", "--merchant", "main"]).await;
    assert!(order.out.contains("¥1,234.56"), "{}", order.out);
    assert!(order.err.contains("wxpayctl why CTL00002"), "the next step: {}", order.err);
    let order = operator.run(&["orders", "show", "CTL00002", "--merchant", "main", "--json"]).await.json();
    assert_eq!((&order["state"], &order["amount_fen"]), (&json!("paid"), &json!(123_456)));

    let events = operator.run(&["events", "tail", "--no-follow", "--types", "wxpay.order.paid.v1"]).await;
    assert_eq!(events.out.lines().count(), 1, "{}", events.out);
    assert!(events.out.contains("CTL00002") && events.out.contains("¥1,234.56"), "{}", events.out);
    let event = operator.run(&["events", "tail", "--no-follow", "--json"]).await;
    let types: Vec<serde_json::Value> = event.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(types.iter().any(|event| event["type"] == "wxpay.order.paid.v1"), "{types:?}");

    let health = operator.run(&["health"]).await;
    assert!(health.out.lines().any(|line| line.starts_with("database")), "{}", health.out);
    assert!(operator.run(&["jobs"]).await.out.contains("pending_queries"));
    for table in [&["health"][..], &["jobs"], &["orders", "list"], &["dead-letters", "list"], &["audit"]] {
        let ran = operator.run(table).await;
        assert_eq!(ran.code, 0, "{table:?}: {}", ran.err);
        assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{table:?} into a pipe");
        operator.run(&[table, &["--json"]].concat()).await.json();
    }
    operator.finish().await;
}

#[tokio::test]
async fn a_new_key_is_alone_on_stdout_and_its_hash_is_for_the_configuration() {
    let new = run(wxpayctl(&["keys", "new", "--name", "ops", "--scopes", "ops,finance"])).await;
    let key = new.out.trim_end();
    assert!(key.len() >= 32 && key.bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
    let hash = format!("hash = \"sha256:{}\"", sha256_hex(key.as_bytes()));
    for line in ["[[api_keys]]", "name = \"ops\"", &hash, "scopes = [\"ops\", \"finance\"]"] {
        assert!(new.err.lines().any(|said| said == line), "{line}: {}", new.err);
    }
    assert_ne!(run(wxpayctl(&["keys", "new", "--json"])).await.json()["key"], json!(key));
}
