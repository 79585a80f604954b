//! A run that is asked for while one is under way is made after it.

use std::time::Duration;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::store::{AuditEntry, JobOutcome, JobRun, RunNow};

use crate::harness::db::TestDb;
use crate::harness::sql::texts;
use crate::harness::store::TestStore;

fn request(at: Timestamp) -> AuditEntry {
    AuditEntry {
        at,
        actor: "anna".into(),
        actor_id: None,
        remote_addr: "127.0.0.1".into(),
        action: "job.run",
        merchant: None,
        order_no: None,
        transaction_id: None,
        subject: None,
        reason: "space is short".into(),
        result: "done".into(),
    }
}

async fn asked_for_during_a_run(db: TestDb) {
    let stage = TestStore::open(db).await;
    let store = &stage.store;
    let at = |seconds| Timestamp::from_ms(1_700_000_000_000).after(Duration::from_secs(seconds));
    store.register_job("retention", "0 7 * * * *", 600_000, at(0), at(3600)).await.unwrap();
    assert_eq!(store.run_job_now("retention", &request(at(1))).await.unwrap(), RunNow::DueBefore, "it is new");
    let lease = store.lease("retention", "one", Duration::from_secs(600)).await.unwrap().unwrap();
    let run = |from: u64| JobRun {
        started_at: at(from),
        ended_at: at(from + 100),
        outcome: JobOutcome::Done,
        done: 1,
        detail: None,
    };
    // Two requests during the run that begins at 2.
    for seconds in [50, 60] {
        assert_eq!(store.run_job_now("retention", &request(at(seconds))).await.unwrap(), RunNow::Running);
    }
    store.report_job(&lease, None, &run(2), at(3600)).await.unwrap();
    assert!(store.is_job_due("retention", at(103), at(3600)).await.unwrap(), "the run did not see the request");
    store.report_job(&lease, None, &run(103), at(3600)).await.unwrap();
    assert_eq!(store.job_due_at("retention").await.unwrap(), Some(at(3600)), "once");
    assert_eq!(store.run_job_now("retention", &request(at(300))).await.unwrap(), RunNow::Due);
    assert_eq!(
        texts(store.db(), "SELECT result FROM audit ORDER BY id").await,
        ["repeated", "running", "running", "done"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_asked_for_during_a_run_is_made_after_it_on_sqlite() {
    asked_for_during_a_run(TestDb::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_asked_for_during_a_run_is_made_after_it_on_postgres() {
    asked_for_during_a_run(TestDb::postgres().await).await;
}
