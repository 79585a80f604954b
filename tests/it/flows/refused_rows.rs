//! A row that the database refuses each time, with a code that looks like an outage.

use crate::harness::db::TestDb;
use crate::harness::service::{InProcess, TestService};

async fn execute(service: &InProcess, sql: &'static str) {
    service.store.db().execute("test", sql, []).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_refused_each_time_holds_up_no_other_and_uses_up_its_own_attempts() {
    let service = TestService::new().on(TestDb::postgres().await).in_process().await;
    let orders: Vec<String> = (0..6).map(|n| format!("GOOD-{n}")).collect();
    for order_no in orders.iter().map(String::as_str).chain(["POISON"]) {
        service.place(order_no).await;
    }
    execute(
        &service,
        "CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           IF NEW.order_no = 'POISON' THEN RAISE EXCEPTION 'refused' USING ERRCODE = 'XX000'; END IF;
           RETURN NEW; END $$",
    )
    .await;
    let trigger = "CREATE TRIGGER refuse_poison BEFORE UPDATE ON orders
                   FOR EACH ROW EXECUTE FUNCTION refuse_poison()";
    execute(&service, trigger).await;
    service.pay("POISON").await;
    for order_no in &orders {
        service.pay(order_no).await;
    }
    for order_no in &orders {
        service.until_state(order_no, "paid").await;
    }
    // An outage would not count.
    let deliveries = "SELECT COALESCE(MAX(deliveries), 0) FROM bus_deliveries WHERE consumer = 'settle'";
    service.until_number("a second attempt at POISON", deliveries, |n| n >= 2).await;
    execute(&service, "DROP TRIGGER refuse_poison ON orders").await;
    service.until_state("POISON", "paid").await;
    service.finish().await;
}
