//! Notifications: true ones settle once, all others change nothing and are counted.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;
use wxpay_worker::clock::Clock;
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;

use super::on_all_four;
use crate::harness::service::{APP_ID, KEY, MCH_ID, OPENID, OTHER_KEY, Process, Processes};
use crate::harness::within_timeout;

/// Why the books of such tests differ.
pub const SIGNED_BY_THE_TEST: &str = "WeChat knows nothing of a payment whose notification the test signed";

/// A notification as WeChat would sign it.
pub fn signed(changes: &[(&str, &str)], key: &str) -> String {
    let mut fields: BTreeMap<String, String> = [
        ("return_code", "SUCCESS"),
        ("appid", APP_ID),
        ("mch_id", MCH_ID),
        ("nonce_str", "5d2b6c2a8db53831f7eda20af46e531c"),
        ("result_code", "SUCCESS"),
        ("openid", OPENID),
        ("trade_type", "JSAPI"),
        ("bank_type", "OTHERS"),
        ("total_fee", "100"),
        ("cash_fee", "100"),
        ("fee_type", "CNY"),
        ("transaction_id", "4200000000202611220000000001"),
        ("out_trade_no", "A700001"),
        ("time_end", &Clock::system().now().to_beijing()),
    ]
    .map(|(name, value): (&str, &str)| (name.to_owned(), value.to_owned()))
    .into();
    fields.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    xml::write(&seal(fields, &V2Key::parse(key).unwrap(), SignType::HmacSha256))
}

/// Posts a body as WeChat does; returns the answer's body.
pub async fn notify(
    service: &Processes,
    process: &Process,
    merchant: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, String) {
    let request = service.http.post(format!("{}/notify/{merchant}/pay", process.base));
    let response = request.header("content-type", "text/xml").body(body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Posts a body until it is acknowledged, as WeChat does; how often it was posted. A busy machine may not store one in
/// time.
pub async fn notify_until_acknowledged(service: &Processes, process: &Process, body: &str) -> i64 {
    let mut posted = 1;
    loop {
        let (status, answer) = notify(service, process, "main", body.to_owned()).await;
        if status == 200 {
            assert!(answer.contains("SUCCESS"), "{answer}");
            return posted;
        }
        assert_eq!(status, 503, "{answer}");
        posted += 1;
    }
}

pub async fn counted(service: &Processes, process: &Process, merchant: &str, result: &str) -> u64 {
    let text = service.http.get(format!("{}/metrics", process.base)).send().await.unwrap().text().await.unwrap();
    let (merchant, result) = (format!("merchant=\"{merchant}\""), format!("result=\"{result}\""));
    text.lines()
        .filter(|l| l.starts_with("wxpay_notify_received_total{") && l.contains(&merchant) && l.contains(&result))
        .filter_map(|l| l.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

on_all_four! {
    async fn two_hundred_copies_at_once_settle_once(service) {
        service.leave_books_open(SIGNED_BY_THE_TEST);
        let process = service.run_all().await;
        service.place(&process.base, "A700001", 100).await;
        let body = signed(&[], KEY);
        let copies = (0..200).map(|_| notify_until_acknowledged(&service, &process, &body));
        let posts: i64 = within_timeout("all acknowledged", join_all(copies)).await.into_iter().sum();
        service.until_state(&process.base, "A700001", "paid").await;
        service.until_drained().await;
        let db = service.open_db().await;
        for (table, rows) in [
            ("ledger", 1), ("outbox WHERE event_type = 'wxpay.order.paid.v1'", 1),
            ("notifications WHERE verdict = 'settled'", 1),
        ] {
            assert_eq!(service.number(&db, &format!("SELECT COUNT(*) FROM {table}")).await, rows, "{table}");
        }
        let again = "SELECT COUNT(*) FROM notifications WHERE verdict = 'duplicate'";
        assert!((199..posts).contains(&service.number(&db, again).await), "of {posts}");
        service.finish().await;
    }

    async fn forged_tampered_foreign_and_hostile_notifications_get_fail_and_change_nothing(service) {
        service.leave_books_open(SIGNED_BY_THE_TEST);
        let process = service.run_all().await;
        service.place(&process.base, "A700001", 100).await;
        let genuine = signed(&[], KEY);
        let hostile = [
            ("forged", signed(&[], "00000000000000000000000000000000"), "signature"),
            ("tampered", genuine.replace("<total_fee>100<", "<total_fee>1<"), "signature"),
            ("wrong amount, unsigned change", genuine.replace("<cash_fee>100<", "<cash_fee>99<"), "signature"),
            ("of another merchant", signed(&[("mch_id", "1900000110")], KEY), "foreign"),
            ("of another app", signed(&[("appid", "wx0000000000000000")], KEY), "foreign"),
            ("unsigned", genuine.split("<sign>").next().unwrap().to_owned() + "</xml>", "unsigned"),
            ("external entity", format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{genuine}"), "xml"),
            ("twice the amount", genuine.replace("</total_fee>", "</total_fee><total_fee>1</total_fee>"), "xml"),
            ("nested", "<xml><a><b>1</b></a></xml>".to_owned(), "xml"),
            ("not XML", "{}".to_owned(), "xml"),
        ];
        for (what, body, reason) in &hostile {
            let before = counted(&service, &process, "main", reason).await;
            let (status, answer) = notify(&service, &process, "main", body.clone()).await;
            assert_eq!(status, 200, "{what}: {answer}");
            assert!(answer.starts_with("<xml><return_code><![CDATA[FAIL]]>"), "{what}: {answer}");
            let after = counted(&service, &process, "main", reason).await;
            assert_eq!(after, before + 1, "{what} is not counted as {reason}");
        }
        let (_, answer) = notify(&service, &process, "second", genuine.clone()).await;
        assert!(answer.contains("FAIL"), "a genuine notification of one merchant at the address of another");
        service.until_drained().await;
        let (_, order) = service.get(&process.base, "/v1/orders/A700001?merchant=main").await;
        assert_eq!((&order["state"], &order["flags"]), (&json!("payable"), &json!([])));
        let db = service.open_db().await;
        for table in ["ledger", "notifications"] {
            assert_eq!(service.number(&db, &format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
        }
        let (_, answer) = notify(&service, &process, "main", genuine).await;
        assert!(answer.contains("SUCCESS"));
        service.until_state(&process.base, "A700001", "paid").await;
        service.finish().await;
    }

    async fn a_signed_notification_of_another_amount_is_parked_announced_and_queried(service) {
        service.leave_books_open(SIGNED_BY_THE_TEST);
        service.expect_dead_letters(&["amount_differs"]);
        let process = service.run_all().await;
        service.place(&process.base, "A700001", 100).await;
        let (_, answer) = notify(&service, &process, "main", signed(&[("total_fee", "99")], KEY)).await;
        assert!(answer.contains("SUCCESS"), "WeChat signed it, repeating it would not change it: {answer}");
        service.until_drained().await;
        let (_, order) = service.get(&process.base, "/v1/orders/A700001?merchant=main").await;
        assert_eq!((&order["state"], &order["flags"]), (&json!("payable"), &json!(["amount_mismatch"])));
        let rejected = service.events(&process.base, "wxpay.notification.rejected.v1").await;
        assert_eq!(rejected[0]["data"]["reason"], "amount_differs");
        assert_eq!(service.events(&process.base, "wxpay.dead_letter.parked.v1").await.len(), 1);
        let db = service.open_db().await;
        assert_eq!(service.number(&db, "SELECT COUNT(*) FROM notifications WHERE verdict = 'parked'").await, 1);
        assert_eq!(service.number(&db, "SELECT COUNT(*) FROM ledger").await, 0);
        // The true payment still settles.
        notify(&service, &process, "main", signed(&[], KEY)).await;
        service.until_state(&process.base, "A700001", "paid").await;
        service.finish().await;
    }

    async fn a_transaction_of_one_order_does_not_pay_another(service) {
        service.leave_books_open(SIGNED_BY_THE_TEST);
        service.expect_dead_letters(&["transaction_elsewhere"]);
        let process = service.run_all().await;
        service.place(&process.base, "A700001", 100).await;
        service.place(&process.base, "A700002", 100).await;
        notify(&service, &process, "main", signed(&[], KEY)).await;
        service.until_state(&process.base, "A700001", "paid").await;
        let (_, answer) = notify(&service, &process, "main", signed(&[("out_trade_no", "A700002")], KEY)).await;
        assert!(answer.contains("SUCCESS"));
        service.until_drained().await;
        let (_, order) = service.get(&process.base, "/v1/orders/A700002?merchant=main").await;
        assert_eq!(order["state"], "payable");
        let db = service.open_db().await;
        assert_eq!(service.number(&db, "SELECT COUNT(*) FROM ledger").await, 1);
        service.finish().await;
    }

    async fn a_notification_that_overtakes_its_order_waits_for_it(service) {
        service.leave_books_open(SIGNED_BY_THE_TEST);
        let process = service.run_all().await;
        let (_, answer) = notify(&service, &process, "main", signed(&[], KEY)).await;
        assert!(answer.contains("SUCCESS"));
        let db = service.open_db().await;
        crate::harness::within_timeout("the notification waits", async {
            while service.number(&db, "SELECT COUNT(*) FROM notifications WHERE verdict = 'waiting'").await == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        })
        .await;
        service.post(&process.base, "/v1/orders", &crate::harness::service::jsapi("A700001", 100)).await;
        service.until_state(&process.base, "A700001", "paid").await;
        service.until_drained().await;
        assert_eq!(service.number(&db, "SELECT COUNT(*) FROM notifications WHERE verdict = 'settled'").await, 1);
        assert_eq!(service.events(&process.base, "wxpay.order.paid.v1").await.len(), 1);
        service.finish().await;
    }

    async fn a_reported_failure_fails_nothing(service) {
        let process = service.run_all().await;
        service.place(&process.base, "A700001", 100).await;
        let fail = signed(&[("result_code", "FAIL"), ("err_code", "SYSTEMERROR")], KEY);
        let (_, answer) = notify(&service, &process, "main", fail).await;
        assert!(answer.contains("SUCCESS"));
        service.until_drained().await;
        let (_, order) = service.get(&process.base, "/v1/orders/A700001?merchant=main").await;
        assert_eq!(order["state"], "payable");
        let db = service.open_db().await;
        assert_eq!(service.number(&db, "SELECT COUNT(*) FROM notifications WHERE verdict = 'no_payment'").await, 1);
        service.finish().await;
    }

    async fn keys_are_not_interchangeable(service) {
        let process = service.run_all().await;
        service.place(&process.base, "A700001", 100).await;
        let (_, answer) = notify(&service, &process, "main", signed(&[], OTHER_KEY)).await;
        assert!(answer.contains("FAIL"));
        service.finish().await;
    }

    async fn nothing_secret_is_logged(service) {
        service.expect_dead_letters(&["amount_differs"]);
        let process = service.run_all().await;
        service.place(&process.base, "A700001", 100).await;
        notify(&service, &process, "main", signed(&[("total_fee", "99")], KEY)).await;
        notify(&service, &process, "main", signed(&[], OTHER_KEY)).await;
        service.pay("A700001").await;
        service.until_state(&process.base, "A700001", "paid").await;
        service.until_drained().await;
        process.terminate().await;
        let logs = service.logs();
        assert!(logs.contains("running"), "the logs were read");
        service.finish().await;
    }
}
