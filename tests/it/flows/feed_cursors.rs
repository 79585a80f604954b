//! Cursors of the feed: they go on where they stand, or say that this place is gone.

use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use wxpay_worker::event::domain::{DomainData, DomainEvent, OrderEnded};
use wxpay_worker::ids::{AppKey, MerchantKey, OrderNo};
use wxpay_worker::money::Fen;

use crate::harness::service::{InProcess, TestService};
use crate::settling::on_both;

/// Events of orders that ended, each with its place in the feed.
async fn emit(service: &InProcess, numbers: std::ops::Range<u32>) {
    for n in numbers {
        let order_no = OrderNo::parse(format!("FEED{n:04}")).unwrap();
        let data = DomainData::OrderClosed(OrderEnded {
            order_no: order_no.clone(),
            app: AppKey::parse("shop").unwrap(),
            amount_fen: Fen::from_i64(1),
            currency: "CNY",
            wechat: None,
        });
        let event = DomainEvent { merchant: MerchantKey::parse("main").unwrap(), order_no: Some(order_no), data };
        service.store.emit(event, service.clock.now()).await.unwrap();
    }
    let open = "SELECT COUNT(*) FROM outbox WHERE position IS NULL OR relayed_at_ms IS NULL";
    service.until_number("the end of the relay", open, |n| n == 0).await;
}

async fn execute(service: &InProcess, sql: &'static str) {
    service.store.db().execute("test", sql, []).await.unwrap();
}

/// The orders of a page and its cursor.
async fn page(service: &InProcess, after: &str) -> (Vec<String>, String) {
    let (status, page) = service.get(&format!("/v1/events?limit=3{after}")).await;
    assert_eq!(status, 200, "{page}");
    let orders = page["events"].as_array().unwrap().iter().map(|e| e["subject"].as_str().unwrap().to_owned());
    (orders.collect(), page["next"].as_str().unwrap().to_owned())
}

async fn after(service: &InProcess, cursor: &str) -> (Vec<String>, String) {
    page(service, &format!("&after={cursor}")).await
}

async fn gone(service: &InProcess, cursor: &str) -> Value {
    let (status, problem) = service.get(&format!("/v1/events?after={cursor}")).await;
    assert_eq!(status, 410, "{problem}");
    problem["code"].clone()
}

fn of_before(position: u32) -> String {
    URL_SAFE_NO_PAD.encode(format!("e{position}"))
}

on_both! {
    async fn positions_are_given_out_once_though_the_events_are_removed(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let (_, start) = page(&service, "").await;
        emit(&service, 0..5).await;
        let (first, third) = after(&service, &start).await;
        let (second, fifth) = after(&service, &third).await;
        assert_eq!((first, second), (vec!["FEED0000".into(), "FEED0001".into(), "FEED0002".into()],
            vec!["FEED0003".into(), "FEED0004".into()]));
        service.until_number("the feed's row", "SELECT last_position FROM feed", |n| n == 5).await;
        execute(&service, "DELETE FROM outbox").await;
        // The reader that has read everything misses nothing; the others do.
        assert_eq!(after(&service, &fifth).await, (Vec::new(), fifth.clone()));
        assert_eq!(after(&service, &of_before(5)).await, (Vec::new(), fifth.clone()));
        for cursor in [&start, &third, &of_before(0), &of_before(3)] {
            assert_eq!(gone(&service, cursor).await, json!("cursor_expired"));
        }
        assert_eq!(page(&service, "").await, (Vec::new(), fifth.clone()));
        emit(&service, 5..6).await;
        assert_eq!(service.number("SELECT MAX(position) FROM outbox").await, 6);
        // The place of the last event that was read is gone, too: whether one behind it was removed is not known.
        assert_eq!(gone(&service, &fifth).await, json!("cursor_expired"));
        assert_eq!(page(&service, "").await.0, ["FEED0005"]);
        service.finish().await;
    }

    async fn an_older_process_that_leaves_the_row_behind_gives_positions_too(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        emit(&service, 0..2).await;
        // As the version before: by the events alone.
        execute(&service, "INSERT INTO outbox (event_id, merchant, order_no, subject, event_type, payload,
            created_at_ms, position, relayed_at_ms) SELECT 'older', merchant, 'FEED0002', subject, event_type,
            REPLACE(payload, 'FEED0001', 'FEED0002'), created_at_ms, 3, 0 FROM outbox WHERE position = 2").await;
        let (orders, third) = page(&service, "").await;
        assert_eq!(orders, ["FEED0000", "FEED0001", "FEED0002"]);
        assert_eq!(after(&service, &third).await, (Vec::new(), third.clone()));
        emit(&service, 3..4).await;
        assert_eq!(after(&service, &third).await.0, ["FEED0003"]);
        assert_eq!(after(&service, &of_before(2)).await.0, ["FEED0002", "FEED0003"]);
        service.until_number("the feed's row", "SELECT last_position FROM feed", |n| n == 4).await;
        service.finish().await;
    }

    async fn a_cursor_ahead_of_a_restored_feed_is_refused_and_skips_nothing(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        emit(&service, 0..2).await;
        let (_, second) = page(&service, "").await;
        emit(&service, 2..4).await;
        let (_, fourth) = after(&service, &second).await;
        // The database as it was after the second event.
        execute(&service, "DELETE FROM outbox WHERE position > 2").await;
        execute(&service, "UPDATE feed SET last_position = 2, last_event_id =
            (SELECT event_id FROM outbox WHERE position = 2)").await;
        assert_eq!(gone(&service, &fourth).await, json!("cursor_foreign"));
        assert_eq!(gone(&service, &of_before(4)).await, json!("cursor_foreign"));
        // Its position is given out again, to another event.
        emit(&service, 4..7).await;
        assert_eq!(gone(&service, &fourth).await, json!("cursor_foreign"));
        assert_eq!(after(&service, &second).await.0, ["FEED0004", "FEED0005", "FEED0006"]);
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_epoch_ends_every_cursor_given_out_before() {
    let service = TestService::embedded_postgres().await.processes().await;
    let process = service.run_all().await;
    service.place(&process.base, "EPOCH-1", 100).await;
    let read = async |after: &str| service.get(&process.base, &format!("/v1/events?{after}")).await;
    // The answer to an order does not wait for the relay that gives its event a position.
    let (status, first) = read("wait=20").await;
    assert_eq!((status, first["events"].as_array().unwrap().len()), (200, 1), "{first}");
    let cursor = first["next"].as_str().unwrap().to_owned();
    assert_eq!(read(&format!("after={cursor}")).await.0, 200);
    let waiting = tokio::spawn(
        service
            .http
            .get(format!("{}/v1/events?wait=30&after={cursor}", process.base))
            .bearer_auth(crate::harness::service::API_KEY)
            .send(),
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxpayd"));
    command.args(["feed", "new-epoch", "--config"]).arg(service.config_file());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    for old in [&cursor, &of_before(1), &of_before(0)] {
        let (status, problem) = read(&format!("after={old}")).await;
        assert_eq!((status, &problem["code"]), (410, &json!("cursor_foreign")), "{problem}");
    }
    let (status, again) = read("").await;
    assert_eq!((status, &again["events"]), (200, &first["events"]), "from the oldest that is kept");
    assert_eq!(read(&format!("after={}", again["next"].as_str().unwrap())).await.0, 200);
    // One that waited with an old cursor gets no new one for it.
    service.place(&process.base, "EPOCH-2", 100).await;
    assert_eq!(waiting.await.unwrap().unwrap().status(), 410);
    service.finish().await;
}
