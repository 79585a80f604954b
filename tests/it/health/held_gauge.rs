//! The gauge of payments that wait for a person: there for as long as they do.

use crate::harness::service::{InProcess, TestService};

/// Gauges are shared by all services of this process: no other one has this merchant.
const MERCHANT: &str = "held-gauge";

impl InProcess {
    async fn until_open_payments(&self, class: &str, count: &str) {
        let name = format!("wxpay_payments_open{{merchant=\"{MERCHANT}\",class=\"{class}\"}} ");
        self.skip(11);
        let url = format!("{}/metrics", self.base);
        self.found(&format!("{name}{count}"), || async {
            let text = self.http.get(&url).send().await.unwrap().text().await.unwrap();
            text.lines().any(|line| line.strip_prefix(&name) == Some(count)).then_some(())
        })
        .await;
    }

    async fn change_payments(&self, sql: &'static str) {
        assert_eq!(self.store.db().execute("test", sql, []).await.unwrap(), 1, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_that_are_neither_accepted_nor_given_back_are_counted_until_they_are() {
    let service = TestService::new().in_process().await;
    for n in 1..=2 {
        let sql = format!(
            "INSERT INTO payments (merchant, transaction_id, version, class, out_trade_no, mch_id, appid, amount_fen,
                                   currency, paid_at_ms, recorded_at_ms, updated_at_ms)
             VALUES ('{MERCHANT}', '420{n}', 1, 'unmatched', 'N', '1', 'a', 1, 'CNY', 1, 1, 1)"
        );
        service.store.db().execute("test", sql, []).await.unwrap();
    }
    service.until_open_payments("unmatched", "2").await;
    // Days later it is there still.
    service.skip(3 * 86_400);
    service.until_open_payments("unmatched", "2").await;
    service.change_payments("UPDATE payments SET class = 'returned' WHERE transaction_id = '4201'").await;
    service.until_open_payments("unmatched", "1").await;
    service.change_payments("UPDATE payments SET class = 'returned' WHERE transaction_id = '4202'").await;
    service.until_open_payments("unmatched", "0").await;
    service.store.db().execute("test", "DELETE FROM payments", []).await.unwrap();
    service.finish().await;
}
