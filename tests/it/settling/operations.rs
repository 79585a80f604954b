//! What operators see and do: dead letters, the archive of notifications, the audit.

use serde_json::{Value, json};
use wxpay_worker::event::domain::{DeadLetterParked, DomainData, DomainEvent};
use wxpay_worker::ids::{EventId, MerchantKey};
use wxpay_worker::secret::sha256_hex;
use wxpay_worker::store::StoredMessage;

use super::held::{paid_as, until_held};
use super::on_both;
use crate::flows::notifications::signed;
use crate::harness::service::{InProcess, KEY, OPENID, SECOND_MERCHANT, TestService, answer};
use crate::harness::sql::texts;

const WRONG_KEY: &str = "00000000000000000000000000000000";
/// A key that sees the second merchant alone.
const SECOND_KEY: &str = "wxk_second_operator";

fn second_operator() -> String {
    let hash = sha256_hex(SECOND_KEY.as_bytes());
    format!(
        "[[api_keys]]\nname = \"second-operator\"\nid = \"op-2\"\nhash = \"sha256:{hash}\"\nscopes = [\"ops\"]\n\
         merchants = [\"second\"]\n"
    )
}

impl InProcess {
    async fn posted(&self, body: &str) -> String {
        let request = self.http.post(format!("{}/notify/main/pay", self.base));
        let request = request.header("content-type", "text/xml").header("cookie", "secret=1").body(body.to_owned());
        request.send().await.unwrap().text().await.unwrap()
    }

    async fn get_as(&self, key: &str, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.base)).bearer_auth(key)).await.unwrap()
    }

    /// The rows of a list.
    async fn listed(&self, list: &str, query: &str) -> Vec<Value> {
        let (status, page) = self.get(&format!("/v1/ops/{list}?{query}")).await;
        assert_eq!(status, 200, "{page}");
        page[list.replace('-', "_")].as_array().unwrap().clone()
    }

    async fn gauge(&self, reason: &str) -> Option<String> {
        let text = self.http.get(format!("{}/metrics", self.base)).send().await.unwrap().text().await.unwrap();
        let name = format!("wxpay_dead_letters{{reason=\"{reason}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name).map(str::to_owned))
    }

    async fn until_gauge(&self, reason: &str, value: &str) {
        self.skip(11);
        self.found(&format!("{reason} {value}"), || async move {
            (self.gauge(reason).await.as_deref() == Some(value)).then_some(())
        })
        .await;
    }

    /// A dead letter that no handler made.
    async fn parked(&self, merchant: &str, reason: &str) -> i64 {
        let merchant = MerchantKey::parse(merchant).unwrap();
        let message = StoredMessage {
            event_id: EventId::new().to_string(),
            consumer: "settle".into(),
            subject: format!("pay.in.{merchant}.notify.received"),
            headers: Vec::new(),
            payload: format!(r#"{{"data":{{"openid":"{OPENID}","amount":1}}}}"#).into_bytes(),
            attempts: 3,
            first_error: "the first".into(),
            last_error: "the last".into(),
        };
        let data = DomainData::DeadLetterParked(DeadLetterParked {
            event_id: message.event_id.clone(),
            consumer: message.consumer.clone(),
            message_subject: message.subject.clone(),
            reason: reason.to_owned(),
            last_error: message.last_error.clone(),
            attempts: message.attempts,
            order_no: None,
        });
        let now = self.clock.now();
        let event = DomainEvent { merchant, order_no: None, data }.encode(now);
        self.store.park(&message, reason, None, &event, now).await.unwrap();
        self.number(&format!("SELECT id FROM dead_letters WHERE event_id = '{}'", message.event_id)).await
    }
}

on_both! {
    async fn a_dead_letter_is_explained_by_its_order_and_discarded_once(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.expect_dead_letters(&["amount_differs"]);
        service.place("D100001").await;
        paid_as(&service, "D100001", json!({"total_fee": 99})).await;
        until_held(&service, "D100001").await;
        let parked = "SELECT COUNT(*) FROM dead_letters";
        service.until_number("a dead letter", parked, |n| n == 1).await;
        let (_, events) = service.get("/v1/events?types=dead_letter.parked&wait=30").await;
        let data = &events["events"][0]["data"];
        let said = (&data["order_no"], &data["reason"]);
        assert_eq!(said, (&json!("D100001"), &json!("amount_differs")), "{events}");

        let (status, groups) = service.get("/v1/ops/dead-letters/groups").await;
        let group = &groups["groups"][0];
        let counted = (status, &group["reason"], &group["consumer"], &group["count"]);
        assert_eq!(counted, (200, &json!("amount_differs"), &json!("settle"), &json!(1)), "{groups}");
        assert_eq!(group["first"], group["last"], "{group}");
        assert!(group["means"].as_str().unwrap().contains("amount") && group["mend"].is_string(), "{group}");

        let rows = service.listed("dead-letters", "order_no=D100001&state=parked&reason=amount_differs").await;
        assert_eq!((rows.len(), &rows[0]["order_no"]), (1, &json!("D100001")), "{rows:?}");
        let path = format!("/v1/ops/dead-letters/{}", rows[0]["id"]);
        let (status, one) = service.get(&path).await;
        assert_eq!((status, &one["message"]["data"]["body"]["total_fee"]), (200, &json!("99")), "{one}");
        let body = &one["message"]["data"]["body"];
        assert_eq!((&body["openid"], &body["sign"]), (&json!("***"), &json!("***")), "{one}");
        assert!(!one.to_string().contains(OPENID), "{one}");
        let attempt = &one["attempt_list"][0];
        assert_eq!((&attempt["attempt"], &attempt["error"]), (&json!(1), &one["last_error"]), "{one}");
        assert_eq!(attempt["at"], one["parked_at"], "{one}");

        let discard = format!("{path}/discard");
        let (status, problem) = service.post(&discard, &json!({})).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("/reason")), "{problem}");
        for _ in 0..2 {
            let (status, ended) = service.post(&discard, &json!({"reason": "given back by hand"})).await;
            assert_eq!((status, &ended["state"], &ended["ended_by"]), (200, &json!("discarded"), &json!("test")));
            assert_eq!(ended["ended_reason"], json!("given back by hand"), "{ended}");
        }
        let audited = service.listed("audit", "action=dead_letter.discard&order_no=D100001").await;
        let results: Vec<&Value> = audited.iter().map(|row| &row["result"]).collect();
        assert_eq!(results, ["repeated", "done"], "{audited:?}");
        let row = &audited[1];
        let who = (&row["actor"], &row["actor_id"], &row["remote_addr"], &row["reason"]);
        assert_eq!(who, (&json!("test"), &json!("test"), &json!("127.0.0.1"), &json!("given back by hand")));
        assert_eq!(row["subject"], json!(format!("dead_letter:{}", rows[0]["id"])));
        let (_, groups) = service.get("/v1/ops/dead-letters/groups").await;
        assert_eq!(groups["groups"], json!([]));

        service.store.db().execute("test", "UPDATE dead_letters SET state = 'replayed'", []).await.unwrap();
        let (status, problem) = service.post(&discard, &json!({"reason": "x"})).await;
        assert_eq!((status, &problem["code"]), (409, &json!("dead_letter_ended")), "{problem}");
        service.finish().await;
    }

    async fn the_gauge_of_a_reason_is_zero_before_and_comes_down_after(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        let reason = format!("of_{}", std::thread::current().name().unwrap_or_default().replace(':', "_"));
        service.expect_dead_letters(&[&reason, &reason]);
        service.until_gauge("needs_v3_key", "0").await;
        let id = service.parked("main", &reason).await;
        service.until_gauge(&reason, "1").await;
        let (status, _) = service.post(&format!("/v1/ops/dead-letters/{id}/discard"), &json!({"reason": "x"})).await;
        assert_eq!(status, 200);
        service.until_gauge(&reason, "0").await;
        // Another process has the job: what this one measured last does not outlive that.
        service.parked("main", &reason).await;
        service.until_gauge(&reason, "1").await;
        let zero = || async {
            service.skip(11);
            let until = wxpay_worker::clock::Clock::system().now().after(std::time::Duration::from_secs(30)).as_ms();
            let taken = format!("UPDATE leases SET holder = 'another', expires_at_ms = {until} WHERE name = 'gauges'");
            service.store.db().execute("test", taken, []).await.unwrap();
            (service.gauge(&reason).await.as_deref() == Some("0")).then_some(())
        };
        service.found("the end of what it showed", zero).await;
        service.finish().await;
    }

    async fn what_a_key_may_not_see_does_not_exist_for_it(db: TestDb) {
        let service = TestService::new().on(db).second_account().config(SECOND_MERCHANT).config(&second_operator());
        let service = service.in_process().await;
        service.expect_dead_letters(&["alien", "alien"]);
        let ours = service.parked("main", "alien").await;
        let theirs = service.parked("second", "alien").await;
        let (status, page) = service.get_as(SECOND_KEY, "/v1/ops/dead-letters").await;
        let ids: Vec<&Value> = page["dead_letters"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
        assert_eq!((status, ids), (200, vec![&json!(theirs)]), "{page}");
        let (_, groups) = service.get_as(SECOND_KEY, "/v1/ops/dead-letters/groups").await;
        assert_eq!(groups["groups"][0]["count"], json!(1), "{groups}");
        for (id, expected) in [(theirs, 200), (ours, 404)] {
            let (status, _) = service.get_as(SECOND_KEY, &format!("/v1/ops/dead-letters/{id}")).await;
            assert_eq!(status, expected);
        }
        let discard = service.http.post(format!("{}/v1/ops/dead-letters/{ours}/discard", service.base));
        let discard = discard.bearer_auth(SECOND_KEY).header("content-type", "application/json");
        let discard = discard.body(r#"{"reason": "x"}"#);
        assert_eq!(answer(discard).await.unwrap().0, 404);
        assert_eq!(service.number("SELECT COUNT(*) FROM dead_letters WHERE state = 'parked'").await, 2);
        let (status, _) = service.get_as(SECOND_KEY, "/v1/ops/dead-letters?merchant=main").await;
        assert_eq!(status, 404);
        // One page after the other.
        let (_, first) = service.get("/v1/ops/dead-letters?limit=1").await;
        let after = format!("/v1/ops/dead-letters?limit=1&after={}", first["next"].as_str().unwrap());
        let (_, second) = service.get(&after).await;
        let seen = [&first["dead_letters"][0]["id"], &second["dead_letters"][0]["id"]];
        assert_eq!(seen, [&json!(theirs), &json!(ours)]);
        service.finish().await;
    }

    async fn refused_bodies_of_an_unpaid_attempt_are_kept_whole_and_the_newest_displaces_an_older_one(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        service.place("R100001").await;
        let truth = signed(&[("out_trade_no", "R100001")], WRONG_KEY);
        for _ in 0..22 {
            assert!(service.posted(&truth).await.contains("FAIL"));
        }
        let rows = "SELECT COUNT(*) FROM refused_notifications";
        let arrivals = "SELECT CAST(COALESCE(SUM(copies), 0) AS BIGINT) FROM refused_notifications";
        service.until_number("22 arrivals", arrivals, |n| n == 22).await;
        assert_eq!(service.number(rows).await, 20);
        assert_eq!(service.number("SELECT COUNT(*) FROM refused_bodies").await, 1);
        for n in 0..8 {
            let forged = signed(&[("out_trade_no", "R100001"), ("attach", &n.to_string())], WRONG_KEY);
            service.posted(&forged).await;
            let sql = format!("{rows} WHERE hash = '{}'", sha256_hex(forged.as_bytes()));
            service.until_number("a body", &sql, |n| n == 1).await;
        }
        let kept = texts(service.store.db(), "SELECT hash FROM refused_bodies").await;
        assert_eq!((kept.len(), kept.contains(&sha256_hex(truth.as_bytes()))), (8, true));
        assert_eq!(service.number(rows).await, 20 + 7);
        // Another one of WeChat's.
        service.skip(1);
        let truth = signed(&[("out_trade_no", "R100001"), ("bank_type", "ICBC_DEBIT")], WRONG_KEY);
        service.posted(&truth).await;
        let sql = format!("{rows} WHERE hash = '{}'", sha256_hex(truth.as_bytes()));
        service.until_number("the true one", &sql, |n| n == 1).await;
        assert_eq!(service.number("SELECT COUNT(*) FROM refused_bodies").await, 8);
        assert_eq!(service.number(rows).await, 20 + 7);

        for query in ["verdict=refused&id=R100001", "order_no=R100001&kind=pay", "reason=signature&limit=20"] {
            let listed = service.listed("notifications", query).await;
            assert!(listed.len() >= 8, "{query}: {listed:?}");
            let newest = &listed[0];
            assert_eq!((&newest["verdict"], &newest["order_no"]), (&json!("refused"), &json!("R100001")), "{newest}");
            let (status, one) = service.get(&format!("/v1/ops/notifications/{}", newest["id"].as_str().unwrap())).await;
            assert_eq!((status, &one["body_sha256"]), (200, &json!(sha256_hex(truth.as_bytes()))), "{one}");
            assert_eq!((&one["body_bytes"], &one["is_sample"]), (&json!(truth.len()), &json!(false)), "{one}");
            assert_eq!((&one["body"]["openid"], &one["body"]["total_fee"]), (&json!("***"), &json!("100")), "{one}");
            assert!(one["headers"].as_array().unwrap().iter().any(|h| h[0] == "content-type"), "{one}");
            assert!(!one.to_string().contains(OPENID) && !one.to_string().contains("cookie"), "{one}");
        }
        // Of a number that is no attempt of ours, a sample.
        let unsigned = signed(&[("out_trade_no", "R999999")], KEY);
        let unsigned = unsigned.split("<sign>").next().unwrap().to_owned() + "</xml>";
        service.posted(&unsigned).await;
        service.until_number("a sample", "SELECT COUNT(*) FROM quarantine", |n| n == 1).await;
        assert_eq!(service.number(rows).await, 20 + 7);
        let samples = service.listed("notifications", "verdict=refused&limit=1").await;
        let (_, sample) = service.get(&format!("/v1/ops/notifications/{}", samples[0]["id"].as_str().unwrap())).await;
        assert_eq!(sample["is_sample"], json!(true), "{sample}");
        service.finish().await;
    }

    async fn a_settled_notification_says_what_it_changed_and_is_found_by_every_number(db: TestDb) {
        let service = TestService::new().on(db).in_process().await;
        for order_no in ["N100001", "N100002"] {
            service.place(order_no).await;
            service.pay(order_no).await;
            service.until_state(order_no, "paid").await;
        }
        let paid = service.stored("N100001").await.order;
        let transaction_id = paid.paid_by.unwrap().transaction_id.to_string();
        let settled = service.listed("notifications", "verdict=settled").await;
        assert_eq!(settled.len(), 2, "{settled:?}");
        let id = service.listed("notifications", "order_no=N100001").await[0]["id"].as_str().unwrap().to_owned();
        for number in ["N100001", &transaction_id, &id] {
            let found = service.listed("notifications", &format!("id={number}")).await;
            assert_eq!((found.len(), &found[0]["id"]), (1, &json!(id)), "{number}: {found:?}");
        }
        let (status, one) = service.get(&format!("/v1/ops/notifications/{id}")).await;
        let about = (&one["order_no"], &one["transaction_id"]);
        assert_eq!((status, about), (200, (&json!("N100001"), &json!(transaction_id))), "{one}");
        assert!(one["verified_by"].as_str().unwrap().starts_with("HMAC-SHA256 key "), "{one}");
        assert_eq!(one["changes"].as_array().unwrap().len(), 1, "{one}");
        assert!(one["changes"][0]["fact"].to_string().contains(&transaction_id), "{one}");
        assert!(!one.to_string().contains(OPENID), "{one}");
        // One page after the other, no row twice.
        let (_, first) = service.get("/v1/ops/notifications?limit=1").await;
        let after = format!("/v1/ops/notifications?limit=1&after={}", first["next"].as_str().unwrap());
        let (_, second) = service.get(&after).await;
        assert_ne!(first["notifications"][0]["id"], second["notifications"][0]["id"]);
        for bad in ["verdict=fine", "kind=x", "after=xyz", "limit=501", "from=yesterday", "page=2"] {
            assert_eq!(service.get(&format!("/v1/ops/notifications?{bad}")).await.0, 400, "{bad}");
        }
        assert_eq!(service.get("/v1/ops/notifications/00000000-0000-0000-0000-000000000000").await.0, 404);
        service.finish().await;
    }

    async fn refused_keys_and_refunds_stand_in_the_audit(db: TestDb) {
        let service = TestService::new().on(db).refunds().config(&second_operator().replace("second\"]", "main\"]"));
        let service = service.in_process().await;
        for _ in 0..3 {
            assert_eq!(service.get_as("wxk_that_ended", "/v1/ops/jobs").await.0, 401);
        }
        service.until_number("a row", "SELECT COUNT(*) FROM audit", |n| n == 1).await;
        let row = service.listed("audit", "action=api_key.refuse").await.remove(0);
        let subject = format!("sha256:{}", &sha256_hex(b"wxk_that_ended")[..12]);
        assert_eq!((&row["subject"], &row["result"]), (&json!(subject), &json!("unauthorized")), "{row}");
        assert_eq!((&row["reason"], &row["remote_addr"]), (&json!("GET /v1/ops/jobs"), &json!("127.0.0.1")), "{row}");
        // Another key sees no rows of no merchant.
        let (status, page) = service.get_as(SECOND_KEY, "/v1/ops/audit").await;
        assert_eq!((status, &page["audit"]), (200, &json!([])), "{page}");

        service.place("U100001").await;
        service.pay("U100001").await;
        service.until_state("U100001", "paid").await;
        let refund = json!({"refund_no": "U100001-R", "amount_fen": 100, "reason": "broken"});
        for _ in 0..2 {
            let (status, answer) = service.post("/v1/orders/U100001/refunds", &refund).await;
            assert!([200, 202].contains(&status), "{answer}");
        }
        let rows = service.listed("audit", "actor=test&action=refund.request").await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        let row = (&rows[0]["subject"], &rows[0]["order_no"], &rows[0]["reason"], &rows[0]["result"]);
        assert_eq!(row, (&json!("refund:U100001-R"), &json!("U100001"), &json!("broken"), &json!("done")));
        let (_, page) = service.get_as(SECOND_KEY, "/v1/ops/audit?order_no=U100001").await;
        assert_eq!(page["audit"].as_array().map(Vec::len), Some(1), "{page}");
        service.poll_until("U100001-R", "processing").await;
        service.ends("U100001-R", "SUCCESS").await;
        service.until_refunded("U100001-R", "succeeded").await;
        service.finish().await;
    }
}
