//! Deferred messages that no stream takes keep none of the others from being published.

use std::time::Duration;

use wxpay_worker::ids::EventId;

use super::runs::{Process, real_time};
use crate::harness::within_timeout;

/// As many as one run publishes.
const UNFIT: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_cannot_be_published_are_put_off_and_the_next_one_comes_to_its_end() {
    let stage = real_time().await;
    let now_ms = stage.clock.now().as_ms();
    let row = |subject: &str, due_ms: i64| {
        format!("('{}', 'query', '{subject}', '[]', x'7b7d', 1, 'e', 'e', {due_ms})", EventId::new())
    };
    let mut rows: Vec<String> = (0..UNFIT).map(|_| row("of.no.stream", now_ms - 60_000)).collect();
    rows.push(row("pay.in.main.query.due", now_ms - 1));
    stage
        .run_sql(&format!(
            "INSERT INTO deferred (event_id, consumer, subject, headers, payload, attempts, first_error, last_error,
                                   next_attempt_at_ms) VALUES {}",
            rows.join(", ")
        ))
        .await;
    let process = Process::start(&stage, "one").await;
    within_timeout("the message behind them is published", async {
        while stage.count("deferred WHERE subject = 'pay.in.main.query.due'").await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    process.stop().await;
    assert_eq!(stage.count("bus_messages WHERE subject = 'pay.in.main.query.due'").await, 1);
    let put_off = format!("deferred WHERE attempts = 2 AND next_attempt_at_ms >= {}", now_ms + 120_000);
    assert_eq!(stage.count(&put_off).await, 500, "they are kept");
    stage.finish().await;
}
