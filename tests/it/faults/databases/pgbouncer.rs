//! Behind a pooler: in transaction mode each transaction may meet another session of PostgreSQL.

use futures_util::future::join_all;
use wxpay_worker::config;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::{Db, DbError};

use crate::harness::db::TestDb;
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::service::TestService;

/// What many installations ignore, so that any driver connects.
const IGNORING: &str = "ignore_startup_parameters = extra_float_digits,options";

async fn connect(url: String, statement_cache: usize) -> Result<Db, DbError> {
    let settings = TestDb::sqlite().settings();
    Db::connect(&config::Store { url: Secret::new(url), statement_cache, ..settings }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_statement_cache_orders_are_paid_through_a_pooler_in_transaction_mode() {
    // Nothing is ignored: what it does not know is not sent.
    let pooler = PgBouncer::start("transaction", "").await;
    let service = TestService::new().on(TestDb::empty_postgres().await).processes().await;
    let url = pooler.url(&service.db.url());
    let env = [("WXPAY__STORE__URL", url.as_str()), ("WXPAY__STORE__STATEMENT_CACHE", "0")];
    // The first one brings the schema up; both then share six sessions.
    let process = service.run_all_with(&env).await;
    let _other = service.run_beside("worker,relay,scheduler", &env).await;
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
    // What a busy machine does not end in time is none of the pooler's.
    let by_time = |line: &&str| line.contains("SQLSTATE 55P03") || line.contains("SQLSTATE 57014");
    let errors: Vec<&str> = logs.lines().filter(|line| line.contains("SQLSTATE") && !by_time(line)).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transaction_through_a_pooler_has_the_settings_that_money_needs() {
    let pooler = PgBouncer::start("transaction", "").await;
    let db = TestDb::postgres().await;
    let through = connect(pooler.url(&db.url()), 0).await.unwrap();
    let sql = "SELECT current_setting('synchronous_commit') || ' ' || current_setting('lock_timeout') || ' '
                      || current_setting('statement_timeout') || ' '
                      || current_setting('transaction_isolation') AS settings";
    // Of the session they are: a client that sets something else meets it.
    let off = "SELECT set_config('synchronous_commit', 'off', FALSE), set_config('lock_timeout', '0', FALSE),
                      set_config('default_transaction_isolation', 'serializable', FALSE)";
    let direct = |sql: &'static str| {
        let through = through.clone();
        async move { through.write("test", sql, |tx, sql| Box::pin(async move { tx.one(sql, []).await })).await }
    };
    for _ in 0..12 {
        direct(off).await.unwrap();
        let row = direct(sql).await.unwrap().unwrap();
        assert_eq!(row.get::<String>("settings").unwrap(), "on 5s 15s read committed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_is_recognised_and_the_mend_is_named() {
    let db = TestDb::postgres().await;
    for settings in [IGNORING, ""] {
        let pooler = PgBouncer::start("transaction", settings).await;
        let refused = connect(pooler.url(&db.url()), 100).await.unwrap_err().to_string();
        assert!(refused.contains("PgBouncer") && refused.contains("store.statement_cache = 0"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_session_mode_and_the_server_itself_are_not_taken_for_one() {
    let db = TestDb::postgres().await;
    let pooler = PgBouncer::start("session", IGNORING).await;
    for url in [pooler.url(&db.url()), db.url()] {
        connect(url, 100).await.unwrap().now().await.unwrap();
    }
}
