//! Refund notifications that are forged, foreign, unreadable, early or untrue: none moves a fen.

use futures_util::{StreamExt, stream};
use serde_json::json;
use wxpay_worker::refund::RefundState;
use wxpay_worker::secret::V2Key;
use wxpay_worker::wechat::v2::refund_notify::encrypt;

use crate::harness::service::{APP_ID, InProcess, KEY, MCH_ID, OTHER_KEY, OTHER_MCH_ID, TestService};
use crate::harness::{size, within_timeout};
use crate::settling::on_both;

/// A notification as WeChat would write it with this key: `status` of a refund of 30 of 100 fen.
pub fn notice(
    out_trade_no: &str,
    refund_no: &str,
    transaction_id: &str,
    status: &str,
    key: &str,
    mch_id: &str,
) -> String {
    let inner = format!(
        "<root><out_refund_no>{refund_no}</out_refund_no><out_trade_no>{out_trade_no}</out_trade_no>\
         <refund_id>50300000002026112200000000001</refund_id><transaction_id>{transaction_id}</transaction_id>\
         <total_fee>100</total_fee><refund_fee>30</refund_fee><settlement_refund_fee>30</settlement_refund_fee>\
         <refund_status>{status}</refund_status><success_time>2026-11-22 12:00:00</success_time>\
         <refund_recv_accout>支付用户零钱</refund_recv_accout></root>"
    );
    let sealed = encrypt(inner.as_bytes(), &V2Key::parse(key).unwrap()).unwrap();
    format!(
        "<xml><return_code>SUCCESS</return_code><appid>{APP_ID}</appid><mch_id>{mch_id}</mch_id>\
         <nonce_str>n</nonce_str><req_info>{sealed}</req_info></xml>"
    )
}

impl InProcess {
    pub async fn tell(&self, body: String, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = self.http.post(format!("{}/notify/main/refund", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    pub async fn until_parked(&self, reason: &str) {
        let sql = format!("SELECT COUNT(*) FROM dead_letters WHERE reason = '{reason}'");
        self.until_number(&format!("a dead letter: {reason}"), &sql, |n| n > 0).await;
        let sql = format!(
            "SELECT COUNT(*) FROM notifications WHERE kind = 'refund' AND verdict = 'parked' AND reason = '{reason}'"
        );
        assert_eq!(self.number(&sql).await, 1, "{reason}");
    }
}

on_both! {
    async fn a_notification_that_lies_changes_nothing(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["query_differs"]);
        service.without_news().await;
        service.paid("N100001").await;
        let refund = service.refunding("N100001", "N1-a", 30).await;
        let transaction = refund["transaction_id"].as_str().unwrap();
        // With our own key, so that everything about it holds: WeChat itself says PROCESSING.
        let (status, text) = service.tell(notice("N100001", "N1-a", transaction, "SUCCESS", KEY, MCH_ID), &[]).await;
        assert!(status == 200 && text.contains("SUCCESS"), "{text}");
        service.until_parked("query_differs").await;
        let stored = service.refund("N1-a").await.refund;
        assert_eq!(stored.state, RefundState::Processing);
        assert_eq!(stored.refund_id.as_deref(), refund["refund_id"].as_str(), "WeChat's number, not the lie's");
        assert_eq!(service.number("SELECT COUNT(*) FROM refund_ledger").await, 0);
        assert_eq!(service.get("/v1/orders/N100001").await.1["refunded_fen"], json!(0));
        service.finish().await;
    }

    async fn forged_foreign_and_unreadable_notifications_are_refused_at_the_endpoint(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("N200001").await;
        let refund = service.refunding("N200001", "N2-a", 30).await;
        let transaction = refund["transaction_id"].as_str().unwrap();
        let ours = notice("N200001", "N2-a", transaction, "SUCCESS", KEY, MCH_ID);
        let between = |a: &str, b: &str| ours.split(a).next().unwrap().to_owned() + b;
        for (body, word) in [
            (notice("N200001", "N2-a", transaction, "SUCCESS", OTHER_KEY, MCH_ID), "SIGN"),
            (notice("N200001", "N2-a", transaction, "SUCCESS", KEY, OTHER_MCH_ID), "MERCHANT"),
            (ours.replace(APP_ID, "wx0000000000000000"), "MERCHANT"),
            (between("<req_info>", "<req_info>AAAA</req_info></xml>"), "SIGN"),
            (between("<req_info>", "</xml>"), "SIGN"),
            (format!("<!DOCTYPE x>{ours}"), "XML"),
            ("<xml><a><b/></a></xml>".to_owned(), "XML"),
            ("{\"id\":\"1\"}".to_owned(), "XML"),
            (String::new(), "XML"),
        ] {
            let (status, text) = service.tell(body, &[]).await;
            assert!(status == 200 && text.contains("FAIL") && text.contains(word), "{word}: {status} {text}");
        }
        assert_eq!(
            service.number("SELECT COUNT(*) FROM notifications WHERE kind = 'refund'").await, 0, "nothing was kept",
        );
        assert_eq!(service.refund("N2-a").await.refund.state, RefundState::Processing);
        service.until_number("a sample in quarantine", "SELECT COUNT(*) FROM quarantine", |n| n > 0).await;
        service.finish().await;
    }

    async fn a_refund_that_wechat_does_not_know_is_not_adopted(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.expect_dead_letters(&["unknown_order", "unknown_refund"]);
        service.paid("N300001").await;
        let transaction = service.stored("N300001").await.order.payments[0].transaction_id.to_string();
        let (_, text) = service.tell(notice("N300001", "never-made", &transaction, "SUCCESS", KEY, MCH_ID), &[]).await;
        assert!(text.contains("SUCCESS"), "it can be read: {text}");
        let (_, text) = service.tell(notice("NOBODYS1", "never-made", &transaction, "SUCCESS", KEY, MCH_ID), &[]).await;
        assert!(text.contains("SUCCESS"), "{text}");
        // Time counts: an order, or a refund of the merchant platform, may take minutes to be seen.
        let (parked, begun) = ("SELECT COUNT(*) FROM dead_letters", service.clock.now());
        loop {
            let count = service.number(parked).await;
            // By the clock: it goes on by itself where a busy machine takes long.
            if service.clock.now().since(begun).as_secs() >= 240 {
                break;
            }
            assert_eq!(count, 0, "parked before four minutes have passed");
            service.pass(32).await;
        }
        within_timeout("both are parked", async {
            while service.number(parked).await < 2 {
                service.pass(60).await;
            }
        })
        .await;
        service.until_parked("unknown_refund").await;
        service.until_parked("unknown_order").await;
        assert_eq!(service.number("SELECT COUNT(*) FROM refunds").await, 0);
        assert_eq!(service.number("SELECT COUNT(*) FROM refund_ledger").await, 0);
        service.finish().await;
    }

    // Small: a hundred and fifty. Long: a thousand.
    async fn copies_of_a_notification_enter_one_refund(db: TestDb) {
        let count = size(150, 1000);
        let service = TestService::new().on(db).refunds().in_process().await;
        service.without_news().await;
        service.paid("N400001").await;
        let refund = service.refunding("N400001", "N4-a", 30).await;
        let transaction = refund["transaction_id"].as_str().unwrap();
        service.ends("N4-a", "SUCCESS").await;
        let body = notice("N400001", "N4-a", transaction, "SUCCESS", KEY, MCH_ID);
        let copies = stream::iter((0..count).map(|_| service.tell(body.clone(), &[])));
        let answers: Vec<_> = copies.buffer_unordered(100).collect().await;
        assert!(answers.iter().all(|(status, text)| *status == 200 && text.contains("SUCCESS")));
        service.until_refunded("N4-a", "succeeded").await;
        let ended = "SELECT COUNT(*) FROM notifications WHERE kind = 'refund'";
        service.until_number("every copy has its end", ended, |n| n >= count).await;
        for (what, rows) in [
            ("refund_ledger", 1),
            ("outbox WHERE event_type = 'wxpay.refund.succeeded.v1'", 1),
            ("notifications WHERE kind = 'refund' AND verdict = 'settled'", 1),
            ("notifications WHERE kind = 'refund' AND verdict = 'duplicate'", count - 1),
        ] {
            assert_eq!(service.number(&format!("SELECT COUNT(*) FROM {what}")).await, rows, "{what}");
        }
        service.finish().await;
    }

    async fn the_newer_apis_notification_is_repeated_until_it_can_be_read(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        let resource = json!({
            "algorithm": "AEAD_AES_256_GCM", "ciphertext": "AAAA", "nonce": "abc", "original_type": "refund",
        });
        let body = json!({
            "id": "EV-1", "event_type": "REFUND.SUCCESS", "resource_type": "encrypt-resource", "resource": resource,
        });
        let headers =
            [("wechatpay-signature", "c2ln"), ("wechatpay-serial", "1"), ("content-type", "application/json")];
        let (status, text) = service.tell(body.to_string(), &headers).await;
        assert!(status == 503 && text.contains("FAIL"), "so that WeChat repeats it: {status} {text}");
        // A flood of them is not kept, nor does it reach the queue; one of them can be read.
        let flood = (0..50).map(|_| service.tell(body.to_string(), &headers));
        let answers = futures_util::future::join_all(flood).await;
        assert!(answers.iter().all(|(status, _)| *status == 503));
        let kept = "SELECT COUNT(*) FROM quarantine WHERE reason = 'needs_v3_key'";
        service.until_number("a sample", kept, |n| n > 0).await;
        assert!(service.number(kept).await < 50, "{}", service.number(kept).await);
        for elsewhere in ["notifications WHERE kind = 'refund'", "dead_letters"] {
            assert_eq!(service.number(&format!("SELECT COUNT(*) FROM {elsewhere}")).await, 0, "{elsewhere}");
        }
        service.finish().await;
    }

    async fn a_refunds_notification_before_its_payments_brings_both(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.faults(json!([{"on": "notify", "kind": "drop"}])).await;
        let address = format!("{}/notify/main/refund", service.base);
        service.wechat_control("merchant", json!({"mch_id": MCH_ID, "refund_notify_url": address})).await;
        service.place("N500001").await;
        service.pay("N500001").await;
        let body = json!({"mch_id": MCH_ID, "out_trade_no": "N500001", "refund_fee": 100});
        let refund = service.wechat_control("refunds/console", body).await;
        service.ends(refund["out_refund_no"].as_str().unwrap(), "SUCCESS").await;
        service.until_state("N500001", "paid").await;
        let order = service.until("refunded", "N500001", |s| s.refunded.as_i64() == 100).await;
        assert!(order.order.paid_reported);
        service.finish().await;
    }
}
