//! Dead letters: one that settles is replayed, one that fails still stays parked and says why.

use serde_json::json;

use super::{WHY, act, items, park, plan, until_done};
use crate::flows::notifications::{SIGNED_BY_THE_TEST, signed};
use crate::harness::service::{InProcess, KEY, OTHER_KEY, TestService};
use crate::harness::sql::texts;

/// One that settles, a copy of it, one of another amount, one of a wrong key, one of no order, one that is no message.
async fn a_dead_letter_settles_or_says_why_not(service: InProcess) {
    service.leave_books_open(SIGNED_BY_THE_TEST);
    service.expect_dead_letters(&["exhausted"; 5]);
    service.place("D100001").await;
    service.place("D100002").await;
    let of = |changes: &[(&str, &str)], key: &str| {
        let time_end = service.clock.now().to_beijing();
        let mut all = vec![("time_end", time_end.as_str())];
        all.extend_from_slice(changes);
        signed(&all, key)
    };
    let truth = of(&[("out_trade_no", "D100001"), ("transaction_id", "4200000000000000000000000001")], KEY);
    let other = [("out_trade_no", "D100002"), ("transaction_id", "4200000000000000000000000002")];
    let amount = of(&[&other[..], &[("total_fee", "99"), ("cash_fee", "99")]].concat(), KEY);
    let unknown = of(&[("out_trade_no", "D100009"), ("transaction_id", "4200000000000000000000000009")], KEY);
    for body in [&truth, &truth, &amount, &of(&other, OTHER_KEY), &unknown] {
        park(&service, body, "exhausted").await;
    }
    let expected = json!({"would_settle": 1, "no_op": 1, "still_fails":
                          {"amount_differs": 1, "signature": 1, "unknown_order": 1}});
    let select = json!({"kind": "dead_letter", "reason_class": "exhausted"});
    let planned = plan(&service, &select, 1000).await;
    assert_eq!((&planned["total"], &planned["to_do"], &planned["predicted"]), (&json!(5), &json!(1), &expected));
    assert_eq!(service.number("SELECT COUNT(*) FROM ledger").await, 0, "a plan changes nothing");
    let started = act(&service, &planned, "start").await;
    assert_eq!(started["changed"], json!([]));
    let done = until_done(&service, &planned).await;
    let failed = expected["still_fails"].clone();
    assert_eq!(done["results"], json!({"settled": 1, "no_op": 1, "failed": failed}), "{done}");
    let states = "SELECT state || ' ' || attempts || ' ' || last_error FROM dead_letters ORDER BY id";
    assert_eq!(
        texts(service.store.db(), states).await,
        [
            "replayed 3 last",
            "replayed 3 last",
            "parked 4 the order is 100 fen, the message says 99 fen",
            "parked 4 signature malformed or wrong",
            "parked 4 no order has this out_trade_no",
        ]
    );
    service.until_state("D100001", "paid").await;
    assert_eq!(service.number("SELECT COUNT(*) FROM ledger WHERE order_no = 'D100001'").await, 1);
    let paid = "SELECT COUNT(*) FROM outbox WHERE event_type = 'wxpay.order.paid.v1'";
    assert_eq!(service.number(paid).await, 1);
    let reasons: Vec<_> = items(&service, &planned).await.iter().map(|item| item["reason"].clone()).collect();
    let words = [None, Some("already_applied"), Some("amount_differs"), Some("signature"), Some("unknown_order")];
    assert_eq!(reasons, words.map(|word| json!(word)));
    // Again: those that fail are still there, and there is nothing to do.
    let again = plan(&service, &select, 1000).await;
    assert_eq!((&again["total"], &again["to_do"]), (&json!(3), &json!(0)), "{again}");
    // One that was replayed can be named, and is left alone.
    let id = service.number("SELECT MIN(id) FROM dead_letters").await;
    let named = plan(&service, &json!({"kind": "dead_letter", "ids": [id]}), 1000).await;
    assert_eq!(named["predicted"], json!({"would_settle": 0, "no_op": 1, "still_fails": {}}));
    let audit = "SELECT action || ' ' || actor || ' ' || result || ' ' || subject || ' ' || reason FROM audit";
    let subject = format!("replay:{}", planned["id"].as_str().unwrap());
    assert_eq!(texts(service.store.db(), audit).await, [format!("replay.start test done {subject} {WHY}")]);
    let by = "SELECT ended_by || ' ' || ended_reason FROM dead_letters WHERE state = 'replayed' LIMIT 1";
    assert_eq!(texts(service.store.db(), by).await, [format!("test {WHY}")]);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_settles_or_says_why_not_on_sqlite() {
    a_dead_letter_settles_or_says_why_not(TestService::embedded_sqlite().await.in_process().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_settles_or_says_why_not_on_postgres() {
    a_dead_letter_settles_or_says_why_not(TestService::embedded_postgres().await.in_process().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_since_the_plan_is_listed_at_the_start() {
    let service = TestService::embedded_sqlite().await.in_process().await;
    service.leave_books_open(SIGNED_BY_THE_TEST);
    service.expect_dead_letters(&["exhausted"]);
    service.place("D100001").await;
    let body = signed(&[("out_trade_no", "D100001"), ("time_end", &service.clock.now().to_beijing())], KEY);
    park(&service, &body, "exhausted").await;
    let planned = plan(&service, &json!({"kind": "dead_letter"}), 1000).await;
    assert_eq!(planned["to_do"], 1);
    let answer = service.http.post(format!("{}/notify/main/pay", service.base)).body(body).send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("SUCCESS"));
    service.until_state("D100001", "paid").await;
    let started = act(&service, &planned, "start").await;
    let changed = json!([{"n": 1, "was": "would_settle", "now": "no_op: already_applied"}]);
    assert_eq!(started["changed"], changed, "{started}");
    let done = until_done(&service, &planned).await;
    assert_eq!(done["results"], json!({"settled": 0, "no_op": 1, "failed": {}}));
    service.finish().await;
}
