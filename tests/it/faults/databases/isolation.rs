//! A database whose transactions see one snapshot unless they say otherwise.

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database};
use wxpay_worker::store::Db;

use crate::harness::db::TestDb;
use crate::harness::service::TestService;
use crate::harness::setting;
use crate::harness::sql::texts;

const LEVEL: &str = "SELECT current_setting('transaction_isolation') AS level";

async fn serializable_by_default() -> TestDb {
    let db = TestDb::empty_postgres().await;
    let TestDb::Postgres { name, .. } = &db else { unreachable!("on PostgreSQL") };
    let admin = Database::connect(&setting("WXPAY_TEST_POSTGRES")).await.unwrap();
    let sql = format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'");
    admin.execute_unprepared(&sql).await.unwrap();
    admin.close().await.unwrap();
    db
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_writes_and_migrations_see_what_was_committed_whatever_the_database_has_as_its_default() {
    let db = serializable_by_default().await;
    let other = Database::connect(db.url()).await.unwrap();
    let sql = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, LEVEL);
    let of_others: String = other.query_one_raw(sql).await.unwrap().unwrap().try_get("", "level").unwrap();
    assert_eq!(of_others, "serializable", "the default holds for others");
    // What the owner of the tables does in the transaction of the migrations is seen by a trigger of its event.
    let watch = "CREATE TABLE seen (level TEXT);
                 CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                   INSERT INTO seen VALUES (current_setting('transaction_isolation')); END $$;
                 CREATE EVENT TRIGGER see ON ddl_command_end EXECUTE FUNCTION see()";
    other.execute_unprepared(watch).await.unwrap();
    let service = Db::connect(&db.settings()).await.unwrap();
    assert!(service.migrate().await.unwrap());
    assert_eq!(texts(&service, "SELECT DISTINCT level FROM seen").await, ["read committed"]);
    assert_eq!(texts(&service, LEVEL).await, ["read committed"]);
    let row = service.write("test", (), |tx, ()| Box::pin(tx.one(LEVEL, []))).await.unwrap().unwrap();
    assert_eq!(row.get::<String>("level").unwrap(), "read committed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_paid_at_once_by_two_processes_on_a_database_that_is_serializable_by_default() {
    let service = TestService::new().on(serializable_by_default().await).processes().await;
    let process = service.run_all().await;
    let _other = service.run_beside("worker,relay,scheduler", &[]).await;
    let numbers: Vec<String> = (0..24).map(|n| format!("B{n:06}")).collect();
    join_all(numbers.iter().map(|number| service.place(&process.base, number, 100))).await;
    join_all(numbers.iter().map(|number| service.pay(number))).await;
    for number in &numbers {
        service.until_state(&process.base, number, "paid").await;
    }
    service.until_drained().await;
    assert_eq!(service.events(&process.base, "wxpay.order.paid.v1").await.len(), numbers.len());
    service.finish().await;
    let logs = service.logs();
    assert!(!logs.contains("SQLSTATE 40001"), "{logs}");
}
