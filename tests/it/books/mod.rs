//! The day's books: rows, running balances, sums, files, and the feed by time.

mod agree;
mod bills;
mod closings;
mod due;
mod feed_by_time;
mod file;
mod late_refunds;
mod months;
mod over_http;
mod paid_event;
mod sheets;
mod spreadsheets;
mod stored;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::service::{API_KEY, InProcess};

impl InProcess {
    async fn ledger_page(&self, query: &str) -> Value {
        let (status, page) = self.get(&format!("/v1/ledger?{query}")).await;
        assert_eq!(status, 200, "{page}");
        page
    }

    /// All rows of a query, in pages of `limit`.
    async fn ledger(&self, query: &str, limit: u32) -> Vec<Value> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.ledger_page(&format!("{query}&limit={limit}{after}")).await;
            rows.extend(page["rows"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return rows };
            after = format!("&after={next}");
        }
    }

    async fn ledger_file(&self, query: &str) -> String {
        let request = self.http.get(format!("{}/v1/ledger?{query}", self.base)).bearer_auth(API_KEY);
        let response = request.header("accept", "text/csv").send().await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &CSV.parse().unwrap()));
        response.text().await.unwrap()
    }
}

const CSV: &str = "text/csv; charset=utf-8";

/// Pages, file, sums and the payments' rows say the same.
pub async fn agree(service: &InProcess) {
    let rows = service.ledger("merchant=main", 7).await;
    let mut balances: BTreeMap<String, i64> = BTreeMap::new();
    let mut sums: BTreeMap<[String; 4], (i64, i64)> = BTreeMap::new();
    for row in &rows {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let balance = balances.entry(text("currency")).or_default();
        *balance += row["change_fen"].as_i64().unwrap();
        assert_eq!(row["balance_fen"].as_i64().unwrap(), *balance, "{row}");
        let sum = sums.entry([text("currency"), text("entry"), text("from_class"), text("class")]).or_default();
        *sum = (sum.0 + 1, sum.1 + row["change_fen"].as_i64().unwrap());
    }
    let count = "SELECT (SELECT COUNT(*) FROM ledger) + (SELECT COUNT(*) FROM refund_ledger)";
    assert_eq!(i64::try_from(rows.len()).unwrap(), service.number(count).await);
    let (status, answer) = service.get("/v1/balances?merchant=main").await;
    assert_eq!(status, 200, "{answer}");
    let (mut said, mut said_sums) = (BTreeMap::new(), BTreeMap::new());
    for balance in answer["balances"].as_array().unwrap() {
        let currency = balance["currency"].as_str().unwrap().to_owned();
        said.insert(currency.clone(), balance["closing_fen"].as_i64().unwrap());
        for sum in balance["sums"].as_array().unwrap() {
            let text = |name: &str| sum[name].as_str().unwrap_or("-").to_owned();
            let key = [currency.clone(), text("entry"), text("from_class"), text("class")];
            said_sums.insert(key, (sum["rows"].as_i64().unwrap(), sum["change_fen"].as_i64().unwrap()));
        }
    }
    assert_eq!((said, said_sums), (balances, sums));
    let file = service.ledger_file("merchant=main").await;
    assert_eq!(file.lines().count(), rows.len() + 1, "{file}");
}
