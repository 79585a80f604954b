//! Held money that takes a second person to be credited.

use serde_json::json;

use super::{BOSS, DESK, LEAD, service};
use crate::harness::service::InProcess;
use crate::harness::sql::texts;
use crate::settling::held::{classes, paid_as, texts as these, until_held, yesterday};
use crate::settling::on_both;

/// 100 fen that are older than their order, and WeChat's number of them.
async fn held(service: &InProcess, order_no: &str) -> String {
    service.place(order_no).await;
    let transaction_id = paid_as(service, order_no, json!({"paid_at": yesterday(service)})).await;
    until_held(service, order_no).await;
    transaction_id
}

on_both! {
    async fn held_money_is_credited_once_by_two(db: TestDb) {
        let service = service().on(db).in_process().await;
        let transaction_id = held(&service, "APH00001").await;
        let wanted = json!({"transaction_id": transaction_id, "reason": "the shop delivers all the same"});
        let mut ids = Vec::new();
        for _ in 0..2 {
            let (status, approval) = service.post_by(DESK, "/v1/orders/APH00001/accept", &wanted).await;
            assert_eq!((status, &approval["state"], &approval["kind"]), (202, &json!("waiting"), &json!("accept")));
            assert_eq!((&approval["amount_fen"], &approval["asked_by"]), (&json!(100), &json!("desk")), "{approval}");
            ids.push(approval["id"].as_i64().unwrap());
        }
        assert_eq!(ids[0], ids[1], "the same request is the same one");
        assert_eq!(service.decided(DESK, ids[0], "approve").await.0, 403);
        assert_eq!(classes(&service, "APH00001").await.0, these(&["held before_order"]));
        let (lead, boss) = (service.decided(LEAD, ids[0], "approve"), service.decided(BOSS, ids[0], "approve"));
        let (a, b) = futures_util::join!(lead, boss);
        for (status, approval) in [a, b] {
            assert_eq!((status, &approval["state"]), (200, &json!("approved")), "{approval}");
        }
        let (_, order) = service.get("/v1/orders/APH00001").await;
        assert_eq!((&order["state"], &order["credited"]), (&json!("paid"), &json!(true)), "{order}");
        let paid = service.events("APH00001").await.iter().filter(|event| *event == "order.paid").count();
        assert_eq!(paid, 1);
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger WHERE entry = 'accepted'").await, 1);
        let by = texts(service.store.db(), "SELECT decided_by FROM approvals").await.remove(0);
        let booked = texts(service.store.db(), "SELECT done_by FROM ledger WHERE entry = 'accepted'").await;
        assert_eq!(booked, [format!("desk, approved by {by}")]);
        // What was credited is not waited for.
        let (status, order) = service.post_by(DESK, "/v1/orders/APH00001/accept", &wanted).await;
        assert_eq!((status, &order["state"]), (200, &json!("paid")), "{order}");
        service.finish().await;
    }

    async fn a_small_payment_does_not_have_a_large_order_delivered_by_one(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.expect_dead_letters(&["amount_differs"]);
        service.place("APH00003").await;
        let transaction_id = paid_as(&service, "APH00003", json!({"total_fee": 1})).await;
        until_held(&service, "APH00003").await;
        let wanted = json!({"transaction_id": transaction_id, "reason": "the rest was paid in cash"});
        let (status, approval) = service.post_by(DESK, "/v1/orders/APH00003/accept", &wanted).await;
        assert_eq!((status, &approval["state"]), (202, &json!("waiting")), "{approval}");
        let said = ["amount_fen", "order_amount_fen", "class"].map(|name| &approval[name]);
        assert_eq!(json!(said), json!([1, 100, null]), "{approval}");
        assert_eq!(classes(&service, "APH00003").await.0, these(&["held mismatched"]));
        assert!(!service.events("APH00003").await.iter().any(|event| event == "order.paid"));
        let id = approval["id"].as_i64().unwrap();
        let (status, approval) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &approval["state"]), (200, &json!("approved")), "{approval}");
        service.until_state("APH00003", "paid").await;
        service.finish().await;
    }

    async fn money_that_goes_back_meanwhile_is_not_credited(db: TestDb) {
        let service = service().on(db).in_process().await;
        let transaction_id = held(&service, "APH00002").await;
        let wanted = json!({"transaction_id": transaction_id, "reason": "the shop delivers all the same"});
        let (_, approval) = service.post_by(DESK, "/v1/orders/APH00002/accept", &wanted).await;
        let accept = approval["id"].as_i64().unwrap();
        let back = json!({"refund_no": "h1", "amount_fen": 50, "transaction_id": transaction_id});
        let (status, refund) = service.desk_wants("APH00002", &back).await;
        assert!([200, 202].contains(&status) && refund["state"] != "awaiting_approval", "{refund}");
        let (status, problem) = service.decided(LEAD, accept, "approve").await;
        assert_eq!((status, &problem["code"]), (409, &json!("payment_given_back")), "{problem}");
        assert_eq!(service.number("SELECT COUNT(*) FROM ledger WHERE entry = 'accepted'").await, 0);
        let (status, refused) = service.decided(LEAD, accept, "refuse").await;
        assert_eq!((status, &refused["state"]), (200, &json!("refused")));
        service.poll_until("h1", "processing").await;
        service.ends("h1", "SUCCESS").await;
        service.until_refunded("h1", "succeeded").await;
        service.finish().await;
    }
}
