//! Bills against the books: classes and sorting alone, then whole days of the service, and what a bill cannot do.

mod classes;
mod currencies;
mod fees;
mod hostile;
mod one_pass;
mod over_http;
mod repairs;
mod repairs_end;
mod repairs_go_on;
mod repairs_slow;
mod seeds;
mod sorting;
mod timetable;

use serde_json::{Value, json};
use wxpay_worker::clock::Timestamp;

use crate::harness::service::{InProcess, MCH_ID};

/// `2026-11-27`, in Beijing.
pub fn day_of(at: Timestamp) -> String {
    let t = at.to_beijing();
    format!("{}-{}-{}", &t[..4], &t[4..6], &t[6..8])
}

impl InProcess {
    /// Moves the clock to two in the morning: far from midnight, and with a whole day ahead.
    pub async fn begin_day(&self) -> String {
        self.skip_to(self.clock.now().next_beijing_midnight());
        self.skip(2 * 3600);
        day_of(self.clock.now())
    }

    /// Moves the clock to where the day's bill is there.
    pub async fn end_day(&self) {
        self.skip_to(self.clock.now().next_beijing_midnight());
        self.skip(10 * 3600 + 600);
    }

    /// Plants differences in the bills.
    pub async fn plant(&self, differences: Value) {
        self.wechat_control("bills/differences", json!({"mch_id": MCH_ID, "differences": differences})).await;
    }

    /// Asks for a day and awaits its end.
    pub async fn reconciled(&self, day: &str) -> Value {
        let body = json!({"merchant": "main", "date": day});
        let (status, asked) = self.post("/v1/reconciliations", &body).await;
        assert_eq!(status, 202, "{asked}");
        self.until_compared(day).await
    }

    /// Awaits the end of the work on a day.
    pub async fn until_compared(&self, day: &str) -> Value {
        let path = format!("/v1/reconciliations/main/{day}");
        let path = &path;
        let ended = || async move {
            let (status, found) = self.get(path).await;
            let is_over = status == 200 && !["pending", "running"].contains(&found["state"].as_str().unwrap());
            // Jobs run by the clock; a run that has begun needs none, and must not become an old one.
            if !is_over && found["state"] != "running" {
                self.skip(5);
            }
            is_over.then_some(found)
        };
        self.found(&format!("the result of {day}"), ended).await
    }

    /// All lines of a day.
    pub async fn lines(&self, day: &str) -> Vec<Value> {
        let (mut lines, mut after) = (Vec::new(), String::new());
        loop {
            let (status, page) = self.get(&format!("/v1/reconciliations/main/{day}/lines?limit=2{after}")).await;
            assert_eq!(status, 200, "{page}");
            lines.extend(page["lines"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return lines };
            after = format!("&after={next}");
        }
    }
}

/// The bill's total less what the lines explain is ours: with the numbers of the answers, not the service's own sum.
pub fn assert_proof(day: &Value, lines: &[Value]) {
    let sum = |side: &str| day[side]["payments_fen"].as_i64().unwrap() - day[side]["refunds_fen"].as_i64().unwrap();
    // In yuan: a line may explain amounts of two currencies.
    let explained: i64 = lines.iter().filter_map(|line| line["explains"]["CNY"].as_i64()).sum();
    assert_eq!(sum("bill") - explained, sum("ledger"), "{day}: {lines:?}");
    assert_eq!(day["unexplained_fen"], 0, "{day}");
    let open = lines.iter().filter(|line| line["resolution"] == "open").count();
    assert_eq!(day["open"], open, "{day}: {lines:?}");
    let counted: i64 = day["classes"].as_object().unwrap().values().map(|n| n.as_i64().unwrap()).sum();
    let matched = day["classes"]["matched"].as_i64().unwrap_or(0);
    assert_eq!(counted - matched, i64::try_from(lines.len()).unwrap(), "{day}: {lines:?}");
    let differences = lines.iter().filter(|line| line["class"] != "carried").count();
    let state = match (open, differences) {
        (1.., _) => "red",
        (0, 1..) => "explained",
        (0, 0) => "balanced",
    };
    assert_eq!(day["result"], state, "{day}: {lines:?}");
}
