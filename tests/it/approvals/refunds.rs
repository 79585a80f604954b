//! Refunds that take a second person.

use serde_json::json;

use super::{BOSS, CLERK, DESK, LEAD, NEW_DESK, service};
use crate::harness::service::TestService;
use crate::harness::sql::texts;
use crate::settling::on_both;

on_both! {
    async fn what_is_too_much_for_one_waits_and_is_refunded_once_by_another(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.paid("APR00001").await;
        let id = service.waiting("APR00001", "a1", 61).await;
        assert_eq!(service.refunds_here().await, 0);
        let reserved = "SELECT COUNT(*) FROM refund_totals WHERE reserved_fen > 0";
        assert_eq!(service.number(reserved).await, 0);
        // The same request is the same one, and the place it was sent to says so.
        assert_eq!(service.waiting("APR00001", "a1", 61).await, id);
        let (status, refund) = service.get("/v1/refunds/a1").await;
        assert_eq!((status, &refund["state"]), (200, &json!("awaiting_approval")), "{refund}");
        assert_eq!(refund["approval"]["id"], json!(id), "{refund}");
        let (status, problem) = service.desk_wants("APR00001", &json!({"refund_no": "a1", "amount_fen": 62})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("refund_differs")), "{problem}");
        // Neither who asked, under any of its keys, nor a key that it made, nor one that may not refund.
        for key in [DESK, NEW_DESK] {
            let (status, problem) = service.decided(key, id, "approve").await;
            assert_eq!((status, &problem["code"]), (403, &json!("approval_own")), "{problem}");
        }
        let scopes = ["refunds", "ops"];
        let own = json!({"name": "friend", "scopes": scopes, "merchants": ["main"], "reason": "to approve"});
        let (status, made) = service.post_by(DESK, "/v1/ops/keys", &own).await;
        assert_eq!(status, 201, "{made}");
        let (status, problem) = service.decided(made["key"].as_str().unwrap(), id, "approve").await;
        assert_eq!((status, &problem["code"]), (403, &json!("approval_own")), "{problem}");
        assert_eq!(service.decided(CLERK, id, "approve").await.0, 403);
        assert_eq!(service.refunds_here().await, 0);
        // Another client; sent twice, and by two.
        let (a, b) = futures_util::join!(service.decided(LEAD, id, "approve"), service.decided(BOSS, id, "approve"));
        for (status, approval) in [a, b, service.decided(LEAD, id, "approve").await] {
            assert_eq!((status, &approval["state"]), (200, &json!("approved")), "{approval}");
        }
        assert_eq!(service.refunds_here().await, 1);
        service.poll_until("a1", "processing").await;
        assert_eq!(service.calls("APR00001").await.len(), 1, "WeChat was called once");
        service.ends("a1", "SUCCESS").await;
        service.until_refunded("a1", "succeeded").await;
        let (status, refund) = service.get("/v1/refunds/a1").await;
        assert_eq!((status, &refund["state"], &refund["amount_fen"]), (200, &json!("succeeded"), &json!(61)));
        let by = "SELECT actor || ' ' || action || ' ' || result FROM audit
                  WHERE action IN ('approval.ask', 'refund.request', 'approval.approve') AND result IN ('asked', 'done')
                  ORDER BY action";
        let by = texts(service.store.db(), by).await;
        let approver = by[0].split(' ').next().unwrap().to_owned();
        assert!(approver == "lead" || approver == "boss", "{by:?}");
        let expected = [format!("{approver} approval.approve done"), "desk approval.ask asked".into(),
                        "desk refund.request done".into()];
        assert_eq!(by, expected);
        let why = "SELECT reason FROM audit WHERE action = 'approval.approve' AND result = 'done'";
        let why = texts(service.store.db(), why).await;
        assert_eq!(why, ["checked with the shop (asked for by desk)"]);
        service.finish().await;
    }

    async fn parts_of_one_payment_count_together_and_approved_ones_do_not(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.paid("APR00002").await;
        let (status, refund) = service.desk_wants("APR00002", &json!({"refund_no": "b1", "amount_fen": 40})).await;
        assert!([200, 202].contains(&status) && refund["state"] != "awaiting_approval", "{refund}");
        service.poll_until("b1", "processing").await;
        service.a_minute_later().await;
        let id = service.waiting("APR00002", "b2", 21).await;
        let (status, approval) = service.decided(LEAD, id, "approve").await;
        assert_eq!((status, &approval["state"]), (200, &json!("approved")), "{approval}");
        service.poll_until("b2", "processing").await;
        service.a_minute_later().await;
        // 40 alone, 21 by two: 20 more are still one person's, also by another key.
        let (status, refund) = service.give_back("APR00002", json!({"refund_no": "b3", "amount_fen": 20})).await;
        assert!([200, 202].contains(&status) && refund["state"] != "awaiting_approval", "{refund}");
        service.poll_until("b3", "processing").await;
        service.a_minute_later().await;
        let (status, rest) = service.give_back("APR00002", json!({"all": true})).await;
        assert_eq!((status, &rest["state"], &rest["amount_fen"]), (202, &json!("awaiting_approval"), &json!(19)));
        for refund_no in ["b1", "b2", "b3"] {
            service.ends(refund_no, "SUCCESS").await;
            service.until_refunded(refund_no, "succeeded").await;
        }
        service.finish().await;
    }

    async fn what_is_refused_or_too_old_moves_nothing(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.paid("APR00003").await;
        let id = service.waiting("APR00003", "c1", 80).await;
        let (status, refused) = service.decided(LEAD, id, "refuse").await;
        assert_eq!((status, &refused["state"], &refused["decided_by"]), (200, &json!("refused"), &json!("lead")));
        assert_eq!(service.decided(BOSS, id, "approve").await.1["code"], "approval_ended");
        assert_eq!(service.decided(BOSS, id, "refuse").await.0, 200, "it is refused already");
        let (status, problem) = service.desk_wants("APR00003", &json!({"refund_no": "c1", "amount_fen": 80})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("not_approved")), "{problem}");
        assert_eq!(service.get("/v1/refunds/c1").await.1["state"], "not_approved");
        let id = service.waiting("APR00003", "c2", 80).await;
        service.skip(24 * 3600);
        let (_, old) = service.get(&format!("/v1/ops/approvals/{id}")).await;
        assert_eq!(old["state"], "expired", "{old}");
        assert_eq!(service.decided(LEAD, id, "approve").await.1["code"], "approval_ended");
        assert_eq!(service.get("/v1/ops/approvals?state=waiting").await.1["approvals"], json!([]));
        // It may be asked for again, under the same number.
        let again = service.waiting("APR00003", "c2", 80).await;
        assert_ne!(again, id);
        assert_eq!(service.refunds_here().await, 0);
        service.finish().await;
    }

    async fn what_is_left_at_wechat_counts_when_it_is_approved(db: TestDb) {
        let service = service().on(db).in_process().await;
        service.paid("APR00004").await;
        let first = service.waiting("APR00004", "d1", 70).await;
        let second = service.waiting("APR00004", "d2", 70).await;
        // WeChat does not answer: the request waits on.
        service.faults(json!([{"on": "orderquery", "kind": "drop", "times": null}])).await;
        let (status, problem) = service.decided(LEAD, first, "approve").await;
        assert_eq!((status, &problem["code"]), (503, &json!("unavailable")), "{problem}");
        assert_eq!(service.refunds_here().await, 0);
        service.clear_faults().await;
        assert_eq!(service.decided(LEAD, first, "approve").await.0, 200);
        let (status, problem) = service.decided(LEAD, second, "approve").await;
        assert_eq!((status, &problem["code"], &problem["left_fen"]), (409, &json!("refund_exceeds"), &json!(30)));
        assert_eq!(service.get("/v1/ops/approvals?state=waiting").await.1["approvals"][0]["id"], json!(second));
        assert_eq!(service.refunds_here().await, 1);
        service.poll_until("d1", "processing").await;
        service.ends("d1", "SUCCESS").await;
        service.until_refunded("d1", "succeeded").await;
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_client_a_thousand_requests_wait_at_most() {
    let service = service().in_process().await;
    service.paid("APR00006").await;
    let first = service.waiting("APR00006", "f1", 80).await;
    let copies =
        "INSERT INTO approvals (kind, merchant, order_no, transaction_id, refund_no, amount_fen, class, currency,
                                         reason, content, asked_by, asked_by_id, asked_key_id, asked_from, asked_at_ms,
                                         expires_at_ms)
                  WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 999)
                  SELECT kind, merchant, order_no, transaction_id, 'copy-' || n, amount_fen, class, currency, reason,
                         content, asked_by, asked_by_id, asked_key_id, asked_from, asked_at_ms, expires_at_ms
                  FROM approvals, counted WHERE refund_no = 'f1'";
    service.store.db().execute("test", copies, []).await.unwrap();
    let over = json!({"refund_no": "f2", "amount_fen": 80});
    let (status, problem) = service.desk_wants("APR00006", &over).await;
    assert_eq!((status, &problem["code"]), (409, &json!("approvals_used_up")), "{problem}");
    assert_eq!(service.number("SELECT COUNT(*) FROM approvals").await, 1000);
    assert_eq!(service.number("SELECT COUNT(*) FROM audit WHERE result = 'approvals_used_up'").await, 1);
    // One that waits is answered as before; another client's wait as well; with one decided there is room again.
    assert_eq!(service.waiting("APR00006", "f1", 80).await, first);
    let by_boss = json!({"refund_no": "f3", "amount_fen": 80});
    let (status, refund) = service.post_by(BOSS, "/v1/orders/APR00006/refunds", &by_boss).await;
    assert_eq!((status, &refund["state"]), (202, &json!("awaiting_approval")), "{refund}");
    assert_eq!(service.decided(LEAD, first, "refuse").await.0, 200);
    service.waiting("APR00006", "f2", 80).await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchant_has_its_own_amount_and_without_any_one_person_decides() {
    let service = TestService::new().refunds().config(&super::limits()).merchant("second_person_fen = 0");
    let service = service.in_process().await;
    service.paid("APR00005").await;
    let (status, refund) = service.desk_wants("APR00005", &json!({"refund_no": "e1", "all": true})).await;
    assert!([200, 202].contains(&status) && refund["state"] != "awaiting_approval", "{refund}");
    service.poll_until("e1", "processing").await;
    service.ends("e1", "SUCCESS").await;
    service.until_refunded("e1", "succeeded").await;
    assert_eq!(service.number("SELECT COUNT(*) FROM approvals").await, 0);
    service.finish().await;
}
