//! Of the refused bodies of one attempt some are kept: a true one stays, whatever others send.

use wxpay_worker::ids::EventId;
use wxpay_worker::secret::sha256_hex;

use crate::flows::notifications::signed;
use crate::harness::service::{InProcess, TestService};
use crate::harness::sql::texts;
use crate::settling::on_both;

/// So many different bodies are kept.
const BODIES: usize = 8;
const WRONG_KEY: &str = "Xa1Bc2De3Fg4Hi5Jk6Lm7No8Pq9Rs0Tu";
const WECHAT: &str = "203.0.113.7";
const FORGER: &str = "2001:db8:1:2::1";
/// An order of which nothing is asserted.
const LAST: &str = "LAST0001";

impl InProcess {
    /// Posts a notification that is refused, as if from this address; gives its hash.
    async fn refused_from(&self, address: &str, number: &str, field: (&str, &str)) -> String {
        self.posted_and_refused(address, signed(&[("out_trade_no", number), field], WRONG_KEY)).await
    }

    /// The same of these bytes: a message that is signed anew has another time.
    async fn posted_and_refused(&self, address: &str, body: String) -> String {
        let hash = sha256_hex(body.as_bytes());
        let request = self.http.post(format!("{}/notify/main/pay", self.base)).header("content-type", "text/xml");
        let response = request.header("x-forwarded-for", address).body(body).send().await.unwrap();
        assert!(response.text().await.unwrap().contains("FAIL"));
        hash
    }

    async fn forged(&self, number: &str, name: &str, count: usize, address: impl Fn(usize) -> String) {
        for n in 1..=count {
            let value = if name == "total_fee" { n.to_string() } else { EventId::new().to_string() };
            self.refused_from(&address(n), number, (name, &value)).await;
        }
    }

    /// The hashes that are kept of an attempt, once all that was posted before was stored.
    async fn kept_of(&self, number: &str) -> Vec<String> {
        // They are stored in the order in which they came.
        let last = self.refused_from(WECHAT, LAST, ("attach", &EventId::new().to_string())).await;
        let sql = format!("SELECT COUNT(*) FROM refused_notifications WHERE hash = '{last}'");
        self.until_number("the last one", &sql, |n| n == 1).await;
        let sql = format!("SELECT DISTINCT hash FROM refused_notifications WHERE out_trade_no = '{number}'");
        let kept = texts(self.store.db(), &sql).await;
        let bodies = format!(
            "SELECT COUNT(*) FROM refused_bodies WHERE hash IN
               (SELECT hash FROM refused_notifications WHERE out_trade_no = '{number}')"
        );
        assert_eq!(i64::try_from(kept.len()).unwrap(), self.number(&bodies).await, "each has its body");
        kept
    }
}

on_both! {
    async fn forgeries_displace_themselves_before_a_true_one(db: TestDb) {
        let proxies = "[server]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
        let service = TestService::new().on(db).config(proxies).in_process().await;
        for number in [LAST, "D100001", "D100002", "D100003", "D100004"] {
            service.place(number).await;
        }
        let one = |n: usize| format!("{FORGER}{n:02}");
        let many = |n: usize| format!("198.51.100.{n}");

        // One network, before and after it: WeChat sent it once.
        service.forged("D100001", "attach", 12, one).await;
        let truth = service.refused_from(WECHAT, "D100001", ("attach", "true")).await;
        service.forged("D100001", "attach", 12, one).await;
        let kept = service.kept_of("D100001").await;
        assert_eq!((kept.len(), kept.contains(&truth)), (BODIES, true));

        // Many networks, which do not know what was asked for.
        let truth = service.refused_from(WECHAT, "D100002", ("attach", "true")).await;
        service.forged("D100002", "total_fee", 20, many).await;
        let kept = service.kept_of("D100002").await;
        assert_eq!((kept.len(), kept.contains(&truth)), (BODIES, true));
        service.forged("D100002", "attach", 20, many).await;
        assert!(service.kept_of("D100002").await.contains(&truth), "of those that came first");

        // Behind a proxy that is not trusted all have one address.
        let truth = service.refused_from(WECHAT, "D100003", ("attach", "true")).await;
        service.forged("D100003", "attach", 20, |_| WECHAT.to_owned()).await;
        assert!(service.kept_of("D100003").await.contains(&truth));

        // Whatever was forged, a repeat brings it back.
        service.forged("D100004", "attach", 20, many).await;
        let message = signed(&[("out_trade_no", "D100004"), ("attach", "true")], WRONG_KEY);
        let truth = service.posted_and_refused(WECHAT, message.clone()).await;
        assert!(service.kept_of("D100004").await.contains(&truth));
        service.forged("D100004", "attach", 20, |n| many(n + 20)).await;
        assert!(!service.kept_of("D100004").await.contains(&truth));
        service.posted_and_refused(WECHAT, message).await;
        assert!(service.kept_of("D100004").await.contains(&truth));
        service.finish().await;
    }
}
