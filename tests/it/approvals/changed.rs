//! What is approved is what was asked for: of the payment and of the refund's number as they were.

use serde_json::{Value, json};

use super::{BOSS, DESK, LEAD, service};
use crate::harness::requests::answer;
use crate::harness::service::InProcess;
use crate::harness::sql::texts;
use crate::settling::held::{paid_as, until_held, yesterday};
use crate::settling::on_both;

/// A refund of a payment that a desk wants, by the payment's number.
async fn payment_back(service: &InProcess, transaction_id: &str, refund_no: &str, fen: i64) -> (u16, Value) {
    let body = json!({"refund_no": refund_no, "amount_fen": fen});
    service.post_by(DESK, &format!("/v1/payments/{transaction_id}/refunds"), &body).await
}

async fn goes_through(service: &InProcess, refund_no: &str) {
    service.poll_until(refund_no, "processing").await;
    service.ends(refund_no, "SUCCESS").await;
    service.until_refunded(refund_no, "succeeded").await;
}

on_both! {
    async fn held_money_that_is_credited_meanwhile_does_not_go_back(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.place("APC00010").await;
        let transaction_id = paid_as(&service, "APC00010", json!({"paid_at": yesterday(&service)})).await;
        until_held(&service, "APC00010").await;
        let back = json!({"refund_no": "g1", "amount_fen": 80, "transaction_id": transaction_id});
        let (status, refund) = service.desk_wants("APC00010", &back).await;
        assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
        assert_eq!(refund["approval"]["class"], json!("held"), "{refund}");
        let id = refund["approval"]["id"].as_i64().unwrap();
        let wanted = json!({"transaction_id": transaction_id, "reason": "the shop delivers all the same"});
        let (_, accept) = service.post_by(BOSS, "/v1/orders/APC00010/accept", &wanted).await;
        assert_eq!(service.decided(LEAD, accept["id"].as_i64().unwrap(), "approve").await.0, 200);
        service.until_state("APC00010", "paid").await;
        let (status, problem) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &problem["code"]), (409, &json!("payment_accepted")), "{problem}");
        assert_eq!(service.refunds_here().await, 0);
        let (_, waits) = service.get(&format!("/v1/ops/approvals/{id}")).await;
        assert_eq!(waits["state"], json!("waiting"), "{waits}");
        // Asked for anew, it is a refund of an order that was paid.
        let id = service.waiting("APC00010", "g2", 80).await;
        let (status, approval) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &approval["state"], &approval["class"]), (200, &json!("approved"), &json!("credited")));
        goes_through(&service, "g2").await;
        service.finish().await;
    }

    async fn money_of_no_order_takes_a_second_person_and_is_not_its_orders(db: TestDb) {
        let service = service().on(db).in_process().await;
        let one = service.unmatched("APC00020", json!({})).await;
        let (status, refund) = payment_back(&service, &one, "p1", 61).await;
        assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
        let said = ["class", "order_no", "amount_fen"].map(|name| &refund["approval"][name]);
        assert_eq!(json!(said), json!(["unmatched", null, 61]), "{refund}");
        let (first, again) = (refund, payment_back(&service, &one, "p1", 61).await.1);
        assert_eq!(first["approval"]["id"], again["approval"]["id"]);
        assert_eq!(service.refunds_here().await, 0);
        let id = first["approval"]["id"].as_i64().unwrap();
        assert_eq!(service.decided(DESK, id, "approve").await.0, 403);
        let (status, approval) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &approval["state"]), (200, &json!("approved")), "{approval}");
        assert_eq!(service.refunds_here().await, 1);
        goes_through(&service, "p1").await;
        // The second one's order appears while its refund waits.
        let two = service.unmatched("APC00021", json!({})).await;
        let (status, refund) = payment_back(&service, &two, "p2", 61).await;
        assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
        service.appears("APC00021").await;
        let id = refund["approval"]["id"].as_i64().unwrap();
        let (status, problem) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &problem["code"]), (409, &json!("payment_matched")), "{problem}");
        assert_eq!(service.refunds_here().await, 1);
        service.finish().await;
    }

    async fn another_refund_of_the_number_is_not_the_approved_one(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.paid("APC00030").await;
        let id = service.waiting("APC00030", "x1", 80).await;
        // As a process does that asks no second person.
        let state = |state: &str| format!("UPDATE approvals SET state = '{state}' WHERE id = {id}");
        service.store.db().execute("test", state("expired"), []).await.unwrap();
        let (status, refund) = service.give_back("APC00030", json!({"refund_no": "x1", "amount_fen": 50})).await;
        assert!([200, 202].contains(&status) && refund["state"] != "awaiting_approval", "{refund}");
        service.store.db().execute("test", state("waiting"), []).await.unwrap();
        let (status, problem) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &problem["code"]), (409, &json!("refund_differs")), "{problem}");
        let (_, waits) = service.get(&format!("/v1/ops/approvals/{id}")).await;
        assert_eq!(waits["state"], json!("waiting"), "{waits}");
        // Nor does an approval of its number make it one that two decided.
        let noted = format!(
            "UPDATE approvals SET state = 'approved', decided_by = 'x', decided_by_id = 'x', decided_at_ms = 1
             WHERE id = {id}"
        );
        service.store.db().execute("test", noted, []).await.unwrap();
        let (status, refund) = service.give_back("APC00030", json!({"refund_no": "x2", "amount_fen": 20})).await;
        assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
        goes_through(&service, "x1").await;
        service.finish().await;
    }

    async fn a_request_whose_key_became_another_refunds_ends_with_its_approval(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.paid("APC00060").await;
        let by_key = async |refund_no: &str, fen: i64| {
            let url = format!("{}/v1/orders/APC00060/refunds", service.base);
            let request = service.http.post(url).bearer_auth(DESK).header("idempotency-key", "k1");
            let body = json!({"refund_no": refund_no, "amount_fen": fen});
            answer(request.header("content-type", "application/json").body(body.to_string())).await.unwrap()
        };
        let (status, refund) = by_key("k1", 61).await;
        assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
        let id = refund["approval"]["id"].as_i64().unwrap();
        let (status, refund) = by_key("k2", 10).await;
        assert!([200, 202].contains(&status) && refund["state"] != "awaiting_approval", "{refund}");
        let (status, problem) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &problem["code"]), (422, &json!("key_reused")), "{problem}");
        let (_, ended) = service.get(&format!("/v1/ops/approvals/{id}")).await;
        let why = "checked with the shop (asked for by desk); not done: its Idempotency-Key is another refund's";
        let said = ["state", "decided_by", "decision_reason"].map(|name| &ended[name]);
        assert_eq!(json!(said), json!(["refused", "lead", why]), "{ended}");
        assert_eq!(service.get("/v1/ops/approvals?state=waiting").await.1["approvals"], json!([]));
        assert_eq!(service.get("/v1/refunds/k1").await.1["state"], "not_approved");
        let row = "SELECT result || ' ' || reason FROM audit WHERE action = 'approval.approve'";
        assert_eq!(texts(service.store.db(), row).await, [format!("key_reused {why}")]);
        assert_eq!(service.decided(BOSS, id, "approve").await.1["code"], "approval_ended");
        assert_eq!(service.refunds_here().await, 1);
        // Under another key and number it is asked for anew.
        service.waiting("APC00060", "k3", 61).await;
        goes_through(&service, "k2").await;
        service.finish().await;
    }

    async fn a_request_that_is_refused_while_wechat_is_asked_moves_nothing(db: TestDb) {
        let mut service = service().on(db).in_process().await;
        service.paid("APC00050").await;
        let id = service.waiting("APC00050", "w1", 80).await;
        let cable = service.reach_wechat_by_cable().await;
        let asked = async || service.wechat_calls("orderquery", "APC00050").await.len();
        let before = asked().await;
        // WeChat's answer does not arrive before the request is refused.
        cable.hold(true);
        let approval = service.decided(LEAD, id, "approve");
        let refusal = async {
            service.found("WeChat is asked", || async { (asked().await > before).then_some(()) }).await;
            let refused = service.decided(BOSS, id, "refuse").await;
            cable.hold(false);
            refused
        };
        let (approval, refusal) = futures_util::join!(approval, refusal);
        assert_eq!((refusal.0, &refusal.1["state"]), (200, &json!("refused")), "{}", refusal.1);
        assert_eq!((approval.0, &approval.1["code"]), (409, &json!("approval_ended")), "{}", approval.1);
        assert_eq!(service.refunds_here().await, 0);
        let result = "SELECT result FROM audit WHERE action = 'approval.approve'";
        assert_eq!(texts(service.store.db(), result).await, ["ended"]);
        service.finish().await;
    }

    async fn of_two_halves_at_once_one_takes_a_second_person(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.paid("APC00040").await;
        let half = |refund_no: &str| json!({"refund_no": refund_no, "amount_fen": 40});
        let (one, two) = (half("s1"), half("s2"));
        let path = "/v1/orders/APC00040/refunds";
        let (a, b) = futures_util::join!(service.post_by(DESK, path, &one), service.post_by(BOSS, path, &two));
        let waiting = [&a, &b].iter().filter(|(_, refund)| refund["state"] == "awaiting_approval").count();
        assert_eq!(waiting, 1, "{a:?} {b:?}");
        assert_eq!(service.refunds_here().await, 1);
        assert_eq!(service.number("SELECT reserved_fen FROM refund_totals").await, 40);
        let done = if a.1["state"] == "awaiting_approval" { "s2" } else { "s1" };
        goes_through(&service, done).await;
        service.finish().await;
    }
}
