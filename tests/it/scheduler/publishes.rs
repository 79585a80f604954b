//! What is due and cannot be published at once.

use std::time::Duration;

use super::runs::{Process, execute, real_time};
use super::stage::Stage;
use crate::contracts::new_order;
use crate::harness::within_timeout;

/// No message is taken for half a second after the order's due time was put off, by a minute.
const AWAY: &str = "
    CREATE TRIGGER away BEFORE INSERT ON bus_messages
    WHEN (SELECT next_query_at_ms FROM orders) - 59500 > CAST(unixepoch('subsec') * 1000 AS INTEGER)
    BEGIN SELECT RAISE(ABORT, 'away'); END";

async fn due_time(stage: &Stage) -> i64 {
    stage.number("SELECT next_query_at_ms FROM orders").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_due_query_whose_publish_fails_is_published_before_it_is_due_again() {
    let stage = real_time().await;
    stage.store.record_orders(&[new_order(1, 100)]).await.unwrap();
    execute(&stage, "UPDATE orders SET next_query_at_ms = 1").await;
    stage.run_sql(AWAY).await;
    let process = Process::start(&stage, "one").await;
    within_timeout("the query is taken", async {
        while due_time(&stage).await == 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let put_off = due_time(&stage).await;
    within_timeout("the query is published", async {
        while stage.count("bus_messages").await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(due_time(&stage).await, put_off, "it was taken once");
    process.stop().await;
    assert_eq!(stage.count("bus_messages").await, 1);
    stage.run_sql("DROP TRIGGER away").await;
    stage.finish().await;
}
