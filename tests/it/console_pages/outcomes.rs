//! What a form comes to where no answer comes, and what it is refused for.

use wxpay_worker::ids::EventId;
use wxpay_worker::store::Role;

use super::service;
use super::user::User;
use crate::harness::service::{InProcess, TestService};
use crate::harness::sql::texts;

const REFUND: &str = "/console/orders/main/A100001/refund";

impl InProcess {
    /// Changes the schema of the database, to make writes fail.
    pub async fn alter(&self, sql: &'static str) {
        let sql = sql.to_owned();
        let altered = self.store.db().write("test", sql, |tx, sql| Box::pin(tx.execute_unprepared(sql))).await;
        altered.map(drop).unwrap();
    }

    async fn transaction(&self) -> String {
        texts(self.store.db(), "SELECT transaction_id FROM payments").await.remove(0)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_whose_outcome_is_not_known_is_sent_again_under_the_same_key() {
    let service = service().refunds().in_process().await;
    service.paid("A100001").await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let (transaction_id, key) = (service.transaction().await, EventId::new().to_string());
    let field = |name: &'static str, value: &'static str| (name, value);
    let mut fields = vec![("transaction_id", transaction_id.as_str()), ("key", key.as_str())];
    fields.extend([field("amount", "0.30"), field("reason", "a gift")]);
    let preview = user.submit(REFUND, &fields).await;
    let change = preview.link("Change");
    assert!(change.ends_with(&format!("&key={key}")), "another amount keeps the key: {change}");
    assert!(user.page(&change).await.text.contains(&format!("name=\"key\" value=\"{key}\"")));
    fields.push(field("confirm", "1"));
    service.alter("CREATE TRIGGER away BEFORE INSERT ON refunds BEGIN INSERT INTO nowhere VALUES (1); END").await;
    let unknown = user.submit(REFUND, &fields).await;
    assert_eq!(unknown.status, 503, "{}", unknown.words());
    unknown.shows("it is not known whether the refund was recorded");
    unknown.hides("Nothing was changed");
    for kept in [("key", key.as_str()), ("amount", "0.30"), ("reason", "a gift"), ("confirm", "1")] {
        let input = format!("name=\"{}\" value=\"{}\"", kept.0, kept.1);
        assert!(unknown.text.contains(&input), "{input}: {}", unknown.text);
    }
    service.alter("DROP TRIGGER away").await;
    for _ in 0..2 {
        assert_eq!(user.submit(REFUND, &fields).await.status, 303);
    }
    assert_eq!(service.number("SELECT SUM(amount_fen) FROM refunds").await, 30);
    assert_eq!(texts(service.store.db(), "SELECT requested_by FROM refunds").await, ["user:operator-false"]);
    user.page("/console/refunds").await.shows("main console");
    let mut broken = fields.clone();
    broken[3] = field("reason", "a\u{1}gift");
    user.submit(REFUND, &broken).await.shows("The reason must not hold control characters.");
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_refunds_no_more_on_a_day_than_its_cap() {
    let config = "[console]\nenabled = true\nrefund_cap_fen_per_day = 50\n";
    let service = TestService::new().config(config).refunds().in_process().await;
    service.paid("A100001").await;
    let user = User::log_in(&service, Role::Operator, None).await;
    let transaction_id = service.transaction().await;
    let refund = async |amount: &str| {
        let key = EventId::new().to_string();
        let named = [("transaction_id", transaction_id.as_str()), ("key", key.as_str())];
        let said = [("amount", amount), ("reason", "a gift"), ("confirm", "1")];
        user.submit(REFUND, &[&named[..], &said[..]].concat()).await
    };
    assert_eq!(refund("0.30").await.status, 303);
    let refused = refund("0.21").await;
    assert_eq!(refused.status, 409, "{}", refused.words());
    refused.shows("Left today: ¥0.20");
    assert_eq!(refund("0.20").await.status, 303);
    assert_eq!(service.number("SELECT SUM(amount_fen) FROM refunds").await, 50);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_the_queue_did_not_confirm_is_in_the_audit_as_that() {
    let service = service().in_process().await;
    let user = User::log_in(&service, Role::Operator, None).await;
    service.place("A100002").await;
    let close = "/console/orders/main/A100002/close";
    let long = "因".repeat(251);
    let refused = user.submit(close, &[("reason", &long)]).await;
    assert_eq!(refused.status, 422);
    refused.shows("The reason has 250 characters at most.");
    assert!(refused.text.contains(&format!(">{long}</textarea>")), "what was entered is kept");
    service
        .alter(
            "CREATE TRIGGER away BEFORE INSERT ON bus_messages WHEN NEW.subject LIKE '%close_requested'
             BEGIN SELECT RAISE(ABORT, 'away'); END",
        )
        .await;
    let unknown = user.submit(close, &[("reason", "sold out")]).await;
    assert_eq!(unknown.status, 503, "{}", unknown.words());
    unknown.shows("it is not known whether this was done");
    unknown.hides("Nothing was changed");
    service.alter("DROP TRIGGER away").await;
    assert_eq!(user.submit(close, &[("reason", &long[3..])]).await.status, 303, "250 characters are not too many");
    let results = "SELECT result FROM audit WHERE action = 'order.close' ORDER BY id";
    assert_eq!(texts(service.store.db(), results).await, ["asked", "unconfirmed", "asked"]);
    service.finish().await;
}
