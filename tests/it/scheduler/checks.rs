//! Checks whether a job has something to do.

use std::time::Duration;

use wxpay_worker::store::JobView;

use super::runs::{Process, execute, has_ended, real_time, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_that_fails_is_followed_by_runs_that_say_why() {
    let stage = real_time().await;
    let process = Process::start(&stage, "one").await;
    until(&stage, "erasures", "its first run", has_ended).await;
    execute(&stage, "ALTER TABLE erasures RENAME TO away").await;
    let first = until(&stage, "erasures", "a run that fails", |view| view.last_failed.is_some()).await;
    let first = first.last_failed.unwrap();
    assert!(first.detail.as_ref().is_some_and(|detail| detail.contains("erasures")), "{first:?}");
    let again = |view: &JobView| view.last_failed.as_ref().is_some_and(|run| run.started_at > first.started_at);
    let again = until(&stage, "erasures", "another", again).await.last_failed.unwrap();
    assert!(again.started_at.since(first.started_at) > Duration::from_secs(3), "others have the time to take it");
    execute(&stage, "ALTER TABLE away RENAME TO erasures").await;
    process.stop().await;
    stage.finish().await;
}
