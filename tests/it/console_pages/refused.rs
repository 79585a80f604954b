//! What was asked for and refused is in the audit; a form that is refused keeps what was entered.

use serde_json::json;
use wxpay_worker::ids::EventId;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::service::{InProcess, TestService};
use crate::harness::sql::texts;

async fn refunds_in_the_audit(service: &InProcess) -> Vec<String> {
    let sql = "SELECT actor || ' ' || order_no || ' ' || result FROM audit WHERE action = 'refund.request' ORDER BY id";
    texts(service.store.db(), sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_that_are_refused_over_the_api_and_the_console() {
    let config = "[console]\nenabled = true\nrefund_cap_fen_per_day = 50\n";
    let service = TestService::new().config(config).refunds().in_process().await;
    service.paid("R100001").await;
    service.place("R100002").await;
    let exceeding = json!({"refund_no": "r1", "amount_fen": 101});
    let (status, problem) = service.give_back("R100001", exceeding.clone()).await;
    assert_eq!((status, &problem["code"]), (409, &json!("refund_exceeds")), "{problem}");
    let (status, problem) = service.give_back("R100002", exceeding).await;
    assert_eq!((status, &problem["code"]), (409, &json!("order_not_paid")), "{problem}");
    let user = User::log_in(&service, Role::Operator, None).await;
    let transaction_id = texts(service.store.db(), "SELECT transaction_id FROM payments").await.remove(0);
    let path = "/console/orders/main/R100001/refund";
    let amounts = [("0.51", "Left today: ¥0.50"), ("1.01", "Enter an amount like 12.50")];
    for (amount, says) in amounts.into_iter().cycle().take(2 * amounts.len()) {
        let key = EventId::new().to_string();
        let named = [("transaction_id", transaction_id.as_str()), ("key", &key), ("amount", amount)];
        let fields = [&named[..], &[("reason", "a gift"), ("confirm", "1")]].concat();
        let refused = user.submit(path, &fields).await;
        assert_eq!(refused.status, 409, "{}", refused.words());
        refused.shows(says);
    }
    let expected = [
        "test R100001 refund_exceeds",
        "test R100002 order_not_paid",
        "operator-false R100001 refund_cap",
        "operator-false R100001 refund_exceeds",
    ];
    assert_eq!(refunds_in_the_audit(&service).await, expected, "each once in an hour");
    service.skip(3600);
    // An audit that takes no row changes no answer.
    let user = User::log_in(&service, Role::Admin, None).await;
    service.alter("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END").await;
    let (status, problem) = service.give_back("R100001", json!({"refund_no": "r2", "amount_fen": 101})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("refund_exceeds")), "{problem}");
    let key = EventId::new().to_string();
    let fields = [("transaction_id", transaction_id.as_str()), ("key", &key), ("amount", "1.01"), ("reason", "a gift")];
    let refused = user.submit(path, &[&fields[..], &[("confirm", "1")]].concat()).await;
    assert_eq!(refused.status, 409, "{}", refused.words());
    refused.shows("Enter an amount like 12.50");
    service.alter("DROP TRIGGER full").await;
    assert_eq!(refunds_in_the_audit(&service).await, expected);
    assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acceptance_that_ends_busy() {
    let service = service().in_process().await;
    service.expect_dead_letters(&["amount_differs"]);
    service.place("B100001").await;
    let paid = service.wechat_control("pay", json!({"out_trade_no": "B100001", "total_fee": 99})).await;
    service.until("the mark", "B100001", |s| s.order.flags.amount_mismatch).await;
    service.skip(2);
    service.until("the payment", "B100001", |s| !s.order.payments.is_empty()).await;
    let ignored = "CREATE TRIGGER busy BEFORE UPDATE ON orders BEGIN SELECT RAISE(IGNORE); END";
    service.store.db().execute("test", ignored, []).await.unwrap();
    let accept = json!({"transaction_id": paid["transaction_id"], "reason": "the shop delivers"});
    let (status, problem) = service.post("/v1/orders/B100001/accept", &accept).await;
    assert_eq!(status, 503, "{problem}");
    service.store.db().execute("test", "DROP TRIGGER busy", []).await.unwrap();
    assert_eq!(service.audited("payment.accept").await, ["busy"]);
    assert_eq!(service.number("SELECT COUNT(*) FROM ledger WHERE entry = 'accepted'").await, 0);
    assert_eq!(service.post("/v1/orders/B100001/accept", &accept).await.0, 200);
    assert_eq!(service.audited("payment.accept").await, ["busy", "done"]);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_without_a_reason_keeps_its_selection() {
    let service = service().in_process().await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let chosen = [("kind", "dead_letter"), ("order_no", "P100001"), ("ids", "11\n12"), ("rate", "7")];
    let entered = [&chosen[..], &[("from", "2026-01-02T03:04"), ("merchant", "main")]].concat();
    let refused = user.submit("/console/replays", &entered).await;
    assert_eq!(refused.status, 422, "{}", refused.words());
    refused.shows("A reason is required.");
    for kept in [
        "name=\"kind\" value=\"dead_letter\" checked",
        "name=\"order_no\" value=\"P100001\"",
        ">11\n12</textarea>",
        "name=\"rate\" value=\"7\"",
        "name=\"from\" value=\"2026-01-02T03:04\"",
        "value=\"main\" selected",
    ] {
        assert!(refused.text.contains(kept), "{kept}: {}", refused.text);
    }
    let long = "x".repeat(251);
    let refused = user.submit("/console/replays", &[&entered[..], &[("reason", long.as_str())]].concat()).await;
    assert!(refused.status == 422 && refused.text.contains(&long), "{}", refused.words());
    let unusable = user.submit("/console/replays", &[("kind", "event"), ("reason", "why"), ("ids", "<>")]).await;
    assert!(unusable.status == 422 && unusable.text.contains("value=\"why\""), "{}", unusable.words());
    assert_eq!(service.number("SELECT COUNT(*) FROM replays").await, 0);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeline_shows_other_currencies_as_what_they_are() {
    let service = service().in_process().await;
    service.expect_dead_letters(&["currency_differs"]);
    service.place("C100001").await;
    service.wechat_control("pay", json!({"out_trade_no": "C100001", "fee_type": "USD"})).await;
    service.until("the mark", "C100001", |s| s.order.flags.amount_mismatch).await;
    service.skip(2);
    service.until("the payment", "C100001", |s| !s.order.payments.is_empty()).await;
    let user = User::log_in(&service, Role::Viewer, None).await;
    let page = user.page("/console/orders/main/C100001").await;
    page.shows("Ledger held 100 USD");
    page.shows("Amount 100 USD");
    service.finish().await;
}
