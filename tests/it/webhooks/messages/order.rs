//! Whose the next message is: the schedule's or a replay's, of which process ever; and what ends a replay.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::IntoResponse;
use serde_json::json;
use wxpay_worker::store::{ReplayMark, ReplaySource};

use super::together::{REPLAYS, answer, given_up, numbers, orders, robot, started, until_done, until_written};
use crate::harness::db::TestDb;
use crate::harness::service::TestService;
use crate::settling::on_both;
use crate::webhooks::receiver::Receiver;
use crate::webhooks::{CONFIG, endpoint, until_at_once, until_attempts, until_number_at_once};

const ASKED: &str = "SELECT COUNT(*) FROM webhook_endpoints WHERE replay_waits_until_ms IS NOT NULL";

on_both! {
    async fn schedule_and_replays_alternate_and_processes_keep_the_pause(db: TestDb) {
        let service = TestService::new().on(db).config(CONFIG).roles("ingress").in_process().await;
        let group = Receiver::start().await;
        let robot = robot(&service, &group).await;
        let id = robot["id"].as_str().unwrap();
        let (store, pause, start) = (&service.store, Duration::from_secs(4), service.clock.now());
        let at = |seconds: u64| start.after(Duration::from_secs(seconds));
        let schedule = async |seconds| store.begin_message(id, at(seconds), pause).await.unwrap();
        let replay = async |seconds| store.begin_replayed_message(id, at(seconds), pause).await.unwrap();
        assert!(schedule(0).await);
        assert!(!schedule(0).await && !schedule(3).await, "of another process neither");
        // The schedule goes first; the message after its next one is the replay's.
        assert!(!replay(4).await);
        assert!(schedule(4).await);
        assert!(!schedule(8).await && !replay(7).await);
        assert!(replay(8).await);
        assert!(!replay(12).await && schedule(12).await);
        // A replay that does not come for its message, as one that was cancelled, keeps the schedule for a while only.
        assert!(!schedule(16).await && !schedule(35).await);
        assert!(schedule(36).await);
        assert!(replay(40).await, "it waits still");
        // Without the schedule it waits a moment longer.
        assert!(!replay(44).await && replay(45).await);
        // A time of a clock that is far ahead.
        assert!(schedule(5000).await && schedule(50).await);
        service.finish().await;
    }

    async fn a_replay_to_a_robot_that_always_has_something_to_say_ends(db: TestDb) {
        let service = TestService::new().on(db).config(CONFIG).in_process().await;
        let group = Receiver::start().await;
        answer(&group, 93000);
        let robot = robot(&service, &group).await;
        let all = numbers("BUSY", 60);
        given_up(&service, &all, 1).await;
        answer(&group, 0);
        let mut sent = group.received().len();
        service.skip(5);
        let path = started(&service).await;
        group.until(sent + 1).await;
        sent += 1;
        // Never is there a moment at which nothing is due.
        let mut rounds = 0;
        while service.get(&path).await.1["state"] != "done" {
            rounds += 1;
            assert!(rounds < 20, "the replay gets no message");
            service.place(&format!("BUSY-AND-FRESH-{rounds}")).await;
            until_at_once(&service, &robot, "one that is due", |found| found["pending"].as_u64() >= Some(1)).await;
            service.skip(4);
            group.until(sent + 1).await;
            sent = group.received().len();
            until_written(&service).await;
        }
        service.finish().await;
    }

    async fn many_replays_that_wait_keep_no_other_one(db: TestDb) {
        let service = TestService::new().on(db).config(CONFIG).in_process().await;
        let (group, shop) = (Receiver::start().await, Receiver::start().await);
        answer(&group, 93000);
        shop.status(500);
        robot(&service, &group).await;
        let other = endpoint(&service, &shop.url, &["order.paid"]).await;
        let all = numbers("MANY", 18);
        given_up(&service, &all, 1).await;
        service.paid("MANY-PAID").await;
        until_attempts(&service, &other, 1, "http_status").await;
        let give_up = "UPDATE webhook_deliveries SET state = 'failed', ended_at_ms = 1, last_error = 'refused'";
        service.run_sql(give_up).await;
        answer(&group, 0);
        shop.status(204);
        let (sent, at_shop) = (group.received().len(), shop.received().len());
        service.skip(5);
        // The first one has the robot's message, and the others wait for it.
        for order_no in all.iter().map(String::as_str).chain(["MANY-PAID"]) {
            let select = json!({"kind": "webhook", "order_no": order_no, "reason_class": "refused"});
            let (status, plan) = service.post(REPLAYS, &json!({"select": select, "reason": "many"})).await;
            assert_eq!(status, 201, "{plan}");
            let path = format!("{REPLAYS}/{}", plan["id"].as_str().unwrap());
            service.post(&format!("{path}/start"), &json!({})).await;
        }
        // Without a later moment, which would bring the robot's next message.
        group.until(sent + 1).await;
        shop.until(at_shop + 1).await;
        assert_eq!(group.received().len(), sent + 1);
        until_attempts(&service, &other, 1, "delivered").await;
        service.finish().await;
    }

    async fn an_item_that_has_its_result_is_not_taken_again(db: TestDb) {
        let service = TestService::new().on(db).config(CONFIG).in_process().await;
        let group = Receiver::start().await;
        answer(&group, 93000);
        robot(&service, &group).await;
        given_up(&service, &numbers("TAKEN", 1), 1).await;
        answer(&group, 0);
        service.skip(5);
        let path = started(&service).await;
        until_done(&service, &path).await;
        let id = service.number("SELECT MAX(id) FROM webhook_deliveries").await;
        let of = |n| ReplayMark {
            replay_id: path.rsplit('/').next().unwrap().to_owned(),
            n,
            source: ReplaySource::Webhook,
            source_id: id.to_string(),
            by: String::new(),
            reason: String::new(),
        };
        let taken = service.store.claim_replayed(&[(id, of(1))], "another process", 1000).await.unwrap();
        assert_eq!(taken, Vec::<i64>::new());
        service.run_sql("UPDATE replay_items SET result = NULL, done_at_ms = NULL").await;
        let taken = service.store.claim_replayed(&[(id, of(1))], "another process", 1000).await.unwrap();
        assert_eq!(taken, [id]);
        service.finish().await;
    }

    async fn a_robot_that_always_wants_a_pause_fails_the_items_at_last(db: TestDb) {
        let service = TestService::new().on(db).config(CONFIG).in_process().await;
        let group = Receiver::start().await;
        answer(&group, 93000);
        robot(&service, &group).await;
        given_up(&service, &numbers("PUTOFF", 2), 1).await;
        let mut sent = group.received().len();
        answer(&group, 45009);
        service.skip(5);
        let path = started(&service).await;
        for _ in 0..11 {
            group.until(sent + 1).await;
            sent += 1;
            until_written(&service).await;
            service.skip(62);
        }
        let done = until_done(&service, &path).await;
        assert_eq!(done["results"], json!({"settled": 0, "no_op": 0, "failed": {"refused": 2}}), "{done}");
        assert_eq!(group.received().len(), sent);
        service.finish().await;
    }

    async fn a_pause_of_a_day_is_no_pause_of_a_day(db: TestDb) {
        let service = TestService::new().on(db).config(CONFIG).in_process().await;
        let group = Receiver::start().await;
        answer(&group, 93000);
        robot(&service, &group).await;
        given_up(&service, &numbers("LONG", 2), 1).await;
        group.answer(|_| (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "86400")]).into_response());
        service.skip(5);
        let path = started(&service).await;
        let done = until_done(&service, &path).await;
        assert_eq!(done["results"], json!({"settled": 0, "no_op": 0, "failed": {"http_status": 2}}), "{done}");
        answer(&group, 0);
        service.run_sql("UPDATE webhook_deliveries SET last_error = 'refused'").await;
        service.skip(602);
        let path = started(&service).await;
        assert_eq!(until_done(&service, &path).await["results"]["settled"], 2);
        service.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_makes_no_messages_without_a_pause() {
    // SQLite lets no such row in.
    let service = TestService::new().on(TestDb::postgres().await).config(CONFIG).in_process().await;
    let group = Receiver::start().await;
    answer(&group, 93000);
    robot(&service, &group).await;
    given_up(&service, &numbers("ROW", 3), 1).await;
    answer(&group, 0);
    let sent = group.received().len();
    service.skip(5);
    let select = json!({"kind": "webhook", "reason_class": "refused"});
    let (_, plan) = service.post(REPLAYS, &json!({"select": select, "reason": "a broken row"})).await;
    assert_eq!(plan["total"], 3, "{plan}");
    service.run_sql("ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_state_check").await;
    service.run_sql("UPDATE webhook_deliveries SET state = 'odd' WHERE order_no LIKE '%-000'").await;
    let path = format!("{REPLAYS}/{}", plan["id"].as_str().unwrap());
    service.post(&format!("{path}/start"), &json!({})).await;
    // The second one asks, and has to wait.
    until_number_at_once(&service, "the next one asks", ASKED, 1).await;
    assert_eq!(group.received().len(), sent + 1);
    assert_eq!(orders(&group.received()[sent]).len(), 1);
    service.skip(6);
    let done = until_done(&service, &path).await;
    assert_eq!(done["results"], json!({"settled": 2, "no_op": 0, "failed": {"defect": 1}}), "{done}");
    service.finish().await;
}
