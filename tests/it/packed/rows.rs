//! Rows of both forms in one database, through the whole service.

use std::collections::BTreeMap;
use std::process::Command;

use async_nats::jetstream;
use sea_orm::{ConnectionTrait, Value};
use wxpay_worker::ids::{MerchantKey, OrderNo, TransactionId};
use wxpay_worker::store::{PackedTable, pack};

use crate::harness::service::{API_KEY, InProcess, Queue, TestService};
use crate::harness::sql::texts;
use crate::settling::on_both;

const TABLES: [&str; 5] = ["outbox", "evidence", "refund_evidence", "notifications", "orders"];

async fn run(service: &InProcess, sql: &str, values: impl Into<Vec<Value>>) {
    service.store.db().execute("test", sql.to_owned(), values.into()).await.unwrap();
}

/// The feed as its bytes.
async fn feed(service: &InProcess) -> String {
    let get = service.http.get(format!("{}/v1/events?limit=100", service.base)).bearer_auth(API_KEY);
    let answer = get.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// An order that is paid and of which some is refunded, with every event relayed.
async fn paid_and_refunded(service: &InProcess, order_no: &str) {
    service.paid(order_no).await;
    service.refunding(order_no, &format!("{order_no}-r"), 60).await;
    service.ends(&format!("{order_no}-r"), "SUCCESS").await;
    service.until_refunded(&format!("{order_no}-r"), "succeeded").await;
    let open = "SELECT COUNT(*) FROM outbox WHERE position IS NULL OR relayed_at_ms IS NULL";
    service.until_number("the end of the relay", open, |n| n == 0).await;
}

/// The bodies of what is on the bus, by the event's id.
async fn on_the_bus(service: &InProcess) -> BTreeMap<String, String> {
    let context = jetstream::new(async_nats::connect(service.queue.url()).await.unwrap());
    let stream = context.get_stream("PAY_EVENTS").await.unwrap();
    let mut bodies = BTreeMap::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let id = message.headers.get("Nats-Msg-Id").unwrap().as_str().to_owned();
        bodies.insert(id, String::from_utf8(message.payload.to_vec()).unwrap());
    }
    bodies
}

/// What was reported of the order's payment, from its evidence.
async fn reported_fen(service: &InProcess, order_no: &str) -> i64 {
    let order = service.stored(order_no).await.order;
    let paid_by: TransactionId = order.paid_by.unwrap().transaction_id;
    let payment = service.store.reported_payment(order.id, &paid_by).await.unwrap().unwrap();
    payment.total_fee.as_i64()
}

/// How many rows are packed, by table.
async fn packed(service: &InProcess) -> Vec<i64> {
    let mut packed = Vec::new();
    for table in TABLES {
        packed.push(service.number(&format!("SELECT COUNT(*) FROM {table} WHERE packed IS NOT NULL")).await);
    }
    packed
}

on_both! {
    async fn while_the_key_is_off_the_form_of_the_version_before_is_written(db: TestDb) {
        let service = TestService::new().on(db).refunds().in_process().await;
        paid_and_refunded(&service, "PLAIN0001").await;
        assert_eq!(packed(&service).await, [0; 5]);
        for sql in [
            "SELECT COUNT(*) FROM outbox WHERE payload LIKE '{\"specversion\":%' AND subject LIKE 'pay.event.main.%'",
            "SELECT COUNT(*) FROM evidence WHERE fact LIKE '{\"fact\":%'",
            "SELECT COUNT(*) FROM refund_evidence WHERE fact LIKE '{\"fact\":%' AND LENGTH(raw) > 100",
            "SELECT COUNT(*) FROM notifications WHERE LENGTH(body) > 100 AND headers LIKE '[[%'",
            "SELECT COUNT(*) FROM orders WHERE content LIKE '{\"order_no\":\"PLAIN0001\",%'",
        ] {
            assert!(service.number(sql).await > 0, "{sql}");
        }
        let facts = "SELECT COUNT(*) FROM evidence WHERE fact NOT LIKE '{%'";
        assert_eq!(service.number(facts).await, 0);
        service.finish().await;
    }

    async fn rows_of_both_forms_side_by_side_are_relayed_fed_and_read(db: TestDb) {
        let service = TestService::new().on(db).with(Queue::nats()).refunds();
        let mut service = service.in_process().await;
        paid_and_refunded(&service, "BOTH0001").await;
        service.restart_with(|config| config.store.compact = true).await;
        paid_and_refunded(&service, "BOTH0002").await;
        // With the key off again, and by a process of before, plain rows follow packed ones.
        service.restart_with(|config| config.store.compact = false).await;
        paid_and_refunded(&service, "BOTH0003").await;

        let plain = "SELECT order_no FROM outbox WHERE packed IS NULL ORDER BY position";
        let plain = texts(service.store.db(), plain).await;
        assert_eq!(plain, [["BOTH0001"; 4], ["BOTH0003"; 4]].concat());
        for table in TABLES {
            let sql = format!("SELECT COUNT(*) FROM {table} WHERE packed IS NOT NULL");
            assert!(service.number(&sql).await > 0, "{table}");
        }
        assert_eq!(service.number("SELECT COUNT(*) FROM outbox WHERE packed IS NOT NULL AND payload = ''").await, 4);

        // The bytes of the feed are those of the bus, whatever the form.
        let fed = feed(&service).await;
        let relayed = on_the_bus(&service).await;
        assert_eq!(relayed.len(), 12);
        for body in relayed.values() {
            assert!(fed.contains(body.as_str()), "{body} is not in {fed}");
        }
        for order_no in ["BOTH0001", "BOTH0002", "BOTH0003"] {
            assert_eq!(reported_fen(&service, order_no).await, 100);
            let (status, order) = service.get(&format!("/v1/orders/{order_no}")).await;
            assert_eq!((status, &order["state"], &order["refunded_fen"]), (200, &"paid".into(), &60.into()), "{order}");
            assert_eq!(service.place(order_no).await["state"], "paid", "a repeat is recognised by its content");
        }
        service.finish().await;
    }

    async fn a_row_that_is_packed_afterwards_is_fed_with_the_same_bytes(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.paid("SAME0001").await;
        let open = "SELECT COUNT(*) FROM outbox WHERE position IS NULL OR relayed_at_ms IS NULL";
        service.until_number("the end of the relay", open, |n| n == 0).await;
        let before = feed(&service).await;
        let db = service.store.db();
        let sql = "SELECT event_id, event_type, merchant, order_no, subject, payload FROM outbox";
        for row in db.read().query_all_raw(db.statement(sql, [])).await.unwrap() {
            let text = |column: &str| row.try_get::<String>("", column).unwrap();
            let context = ["event_type", "merchant", "event_id", "order_no"].map(text);
            let plain = format!("{}\n{}", text("subject"), text("payload"));
            let packed = pack(&context.each_ref().map(String::as_str), plain.as_bytes()).unwrap();
            let sql = "UPDATE outbox SET packed = $1, payload = '', subject = '' WHERE event_id = $2";
            run(&service, sql, [packed.into(), text("event_id").into()]).await;
        }
        assert_eq!(feed(&service).await, before);
        service.finish().await;
    }

    async fn a_damaged_row_is_named_and_the_events_behind_it_are_published(db: TestDb) {
        let service = TestService::new().on(db).with(Queue::nats()).config("[store]\ncompact = true");
        let service = service.in_process().await;
        service.place("TORN0001").await;
        let open = "SELECT COUNT(*) FROM outbox WHERE position IS NULL OR relayed_at_ms IS NULL";
        service.until_number("the end of the relay", open, |n| n == 0).await;
        for table in ["outbox", "orders"] {
            run(&service, &format!("UPDATE {table} SET packed = $1"), [vec![1_u8, 2, 3].into()]).await;
        }
        run(&service, "UPDATE outbox SET relayed_at_ms = NULL", []).await;
        service.place("TORN0002").await;
        service.until_number("the end of the relay", open, |n| n == 0).await;
        assert_eq!(on_the_bus(&service).await.len(), 2, "the first one from before it was damaged");

        let get = service.http.get(format!("{}/v1/events", service.base)).bearer_auth(API_KEY);
        assert_eq!(get.send().await.unwrap().status(), 500, "an event is not skipped silently");
        let (merchant, order_no) = (MerchantKey::parse("main").unwrap(), OrderNo::parse("TORN0001").unwrap());
        let why = service.store.order(&merchant, &order_no).await.unwrap_err().to_string();
        assert!(why.contains("of orders: packed bytes are cut off"), "{why}");
        for table in [PackedTable::Outbox, PackedTable::Orders] {
            let found = service.store.unreadable_rows(table).await.unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            service.store.stored_text(table, &found[0].id).await.unwrap_err();
        }
        assert_eq!(service.store.unreadable_rows(PackedTable::Evidence).await.unwrap(), []);
        service.leave_unfinished("an order's row is damaged");
        service.leave_books_open("an order's row is damaged");
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_shows_packed_rows_and_lists_the_damaged() {
    let service = TestService::new().config("[store]\ncompact = true").processes().await;
    let process = service.run_all().await;
    service.place(&process.base, "SHOWN0001", 100).await;
    service.pay("SHOWN0001").await;
    service.until_state(&process.base, "SHOWN0001", "paid").await;
    let db = service.open_db().await;
    let stored = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
        command.arg("stored").args(arguments).arg("--config").arg(service.config_file());
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    assert_eq!(stored(&["check"]), (true, "every packed row can be read\n".to_owned()));
    let id = &texts(&db, "SELECT event_id FROM notifications WHERE packed IS NOT NULL").await[0];
    let (_, notification) = stored(&["show", "notifications", id]);
    assert!(notification.starts_with("[[\"") && notification.contains("<![CDATA[SHOWN0001]]>"), "{notification}");
    let (_, event) = stored(&["show", "outbox", "1"]);
    assert!(event.starts_with("{\"specversion\":\"1.0\","), "{event}");
    let damaged = "UPDATE notifications SET packed = $1 WHERE event_id = $2";
    db.execute("test", damaged, [vec![9_u8].into(), id.as_str().into()]).await.unwrap();
    let (succeeded, listed) = stored(&["check"]);
    assert!(!succeeded && listed.contains(&format!("notifications {id}: packed bytes of an unknown form")), "{listed}");
    service.finish().await;
}
