//! A standby that no commit waits for: the process is ready, and says what a failover would cost.

use sea_orm::{ConnectionTrait, Database};

use crate::faults::load::readiness;
use crate::faults::until;
use crate::harness::db::TestDb;
use crate::harness::postgres::PostgresServer;
use crate::harness::service::TestService;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_standby_is_a_warning_until_commits_wait_for_it() {
    let primary = PostgresServer::start();
    let service = TestService::new().on(TestDb::postgres_on(primary.url()).await).processes().await;
    let process = service.run_all().await;
    let check = || async {
        let (status, standbys) = readiness(&service, &process.base, "standbys").await;
        (status, standbys["ok"] == true, standbys["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(check().await, (200, true, String::new()), "there is no standby");
    let _standby = primary.attach_standby();
    let reason = until("the standby is attached", || async {
        let (status, ok, reason) = check().await;
        assert_eq!(status, 200, "ready all the same");
        (!ok).then_some(reason)
    })
    .await;
    assert!(reason.contains("synchronous_standby_names"), "{reason}");
    let admin = Database::connect(primary.url()).await.unwrap();
    admin.execute_unprepared("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
    admin.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
    until("commits wait for it", || async { check().await.1.then_some(()) }).await;
    service.place(&process.base, "S100001", 100).await;
    service.pay("S100001").await;
    service.until_state(&process.base, "S100001", "paid").await;
    service.finish().await;
    // The standby ends before the database is dropped, which would wait for it.
    admin.execute_unprepared("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
    admin.execute_unprepared("SELECT pg_reload_conf()").await.unwrap();
}
