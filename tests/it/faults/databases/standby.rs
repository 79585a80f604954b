//! A standby that no commit waits for: the process is ready, and says what a failover would cost.

use sea_orm::{ConnectionTrait, Database};

use crate::faults::until;
use crate::harness::db::TestDb;
use crate::harness::postgres::PostgresServer;
use crate::harness::service::TestService;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_is_a_warning_until_commits_wait_for_it() {
    let primary = PostgresServer::start();
    let service = TestService::new().on(TestDb::postgres_on(primary.url()).await).processes().await;
    let process = service.run_all().await;
    // Ready all the same. A check that takes longer than its second, as on a busy machine, says nothing of them.
    let check = async || {
        until("a process that is ready and knows of its standbys", || async {
            let (status, ready) = service.get(&process.base, "/readyz").await;
            let standbys = ready["checks"].as_array()?.iter().find(|check| check["name"] == "standbys")?;
            let reason = standbys["reason"].as_str().unwrap_or_default().to_owned();
            (status == 200).then_some((standbys["ok"] == true, reason))
        })
        .await
    };
    assert_eq!(check().await, (true, String::new()), "there is no standby");
    let _standby = primary.attach_standby();
    let reason = until("the standby is attached", || async {
        let (ok, reason) = check().await;
        (!ok).then_some(reason)
    })
    .await;
    assert!(reason.contains("synchronous_standby_names"), "{reason}");
    let admin = Database::connect(primary.url()).await.unwrap();
    admin.execute_unprepared("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
    admin.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
    until("commits wait for it", || async { check().await.0.then_some(()) }).await;
    service.place(&process.base, "S100001", 100).await;
    service.pay("S100001").await;
    service.until_state(&process.base, "S100001", "paid").await;
    service.finish().await;
    // The standby ends before the database is dropped, which would wait for it.
    admin.execute_unprepared("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
    admin.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
}
