//! Notifications at the other address of the two, and in another shape: shops set the one address of the merchant
//! platform to either.

use serde_json::json;

use crate::harness::service::{InProcess, TestService};
use crate::settling::on_both;

impl InProcess {
    /// Asserts that notifications settled everything and none was taken for a forgery.
    async fn settled_by_notification(&self, kind: &str) {
        let sql = format!("SELECT COUNT(*) FROM notifications WHERE kind = '{kind}' AND verdict = 'settled'");
        self.until_number("a settled notification", &sql, |n| n == 1).await;
        assert_eq!(self.number("SELECT COUNT(*) FROM quarantine").await, 0);
    }
}

on_both! {
    async fn a_refunds_notification_at_the_payment_address_is_one(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("X100001").await;
        service.refunding("X100001", "X1-a", 30).await;
        let url = format!("{}/notify/main/pay", service.base);
        service.faults(json!([{"on": "refund_notify", "kind": "misdirect", "url": url}])).await;
        service.ends("X1-a", "SUCCESS").await;
        // No time passes: nothing but the notification tells of it.
        service.until_refunded("X1-a", "succeeded").await;
        service.settled_by_notification("refund").await;
        service.finish().await;
    }

    async fn a_payments_notification_at_the_refund_address_is_one(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place("X200001").await;
        let url = format!("{}/notify/main/refund", service.base);
        service.faults(json!([{"on": "notify", "kind": "misdirect", "url": url}])).await;
        service.pay("X200001").await;
        service.until_state("X200001", "paid").await;
        service.settled_by_notification("pay").await;
        service.finish().await;
    }

    async fn base64_in_lines_opens(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.paid("X300001").await;
        service.refunding("X300001", "X3-a", 30).await;
        service.faults(json!([{"on": "refund_notify", "kind": "wrap"}])).await;
        service.ends("X3-a", "SUCCESS").await;
        service.until_refunded("X3-a", "succeeded").await;
        service.settled_by_notification("refund").await;
        service.finish().await;
    }

    async fn what_is_forged_stays_so_at_either_address(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        service.place("X400001").await;
        for address in ["pay", "refund"] {
            for (body, text) in [
                ("<xml><return_code>SUCCESS</return_code><req_info>AAAA</req_info></xml>", "MERCHANT"),
                ("<xml><return_code>SUCCESS</return_code></xml>", "SIGN"),
                ("<xml><return_code>SUCCESS</return_code><req_info> </req_info><sign>0</sign></xml>", "SIGN"),
                ("<xml><return_code>SUCCESS</return_code><a>req_info</a></xml>", "SIGN"),
            ] {
                let request = service.http.post(format!("{}/notify/main/{address}", service.base)).body(body);
                let answer = request.send().await.unwrap().text().await.unwrap();
                assert!(answer.contains("FAIL"), "{address}: {answer}");
                // A refund's notification has no signature: the first thing to check is whose it is.
                let unsigned_refund = address == "refund" && answer.contains("MERCHANT");
                assert!(answer.contains(text) || unsigned_refund, "{address} {body}: {answer}");
            }
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM notifications").await, 0);
        service.finish().await;
    }
}
