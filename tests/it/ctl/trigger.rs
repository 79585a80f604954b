//! `trigger order.paid`: a payment at the simulator, with what goes wrong there.

use serde_json::json;

use super::support::Operator;
use crate::harness::sql::{number, texts};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_whose_notification_is_dropped_becomes_known_by_a_query() {
    let operator = Operator::new().await;
    let db = operator.service.open_db().await;
    let sandbox = operator.service.wechat_url.clone();
    let pay = ["trigger", "order.paid", "--sandbox", &sandbox, "--merchant", "main", "--app", "shop", "--json"];
    let learnt_by = async |transaction_id: &str| {
        let sql = format!("SELECT evidence FROM ledger WHERE transaction_id = '{transaction_id}'");
        let evidence = texts(&db, &sql).await.remove(0);
        evidence.split(':').next().unwrap().to_owned()
    };

    let paid = operator.run(&pay).await;
    assert_eq!(paid.code, 0, "{}", paid.err);
    let paid = paid.json();
    operator.service.until_state(&operator.process.base, paid["order_no"].as_str().unwrap(), "paid").await;
    assert_eq!(learnt_by(paid["transaction_id"].as_str().unwrap()).await, "notification");

    let lost = operator.run(&[&pay[..], &["--fault", "drop_notify", "--amount-fen", "250"]].concat()).await.json();
    assert_eq!((&lost["amount_fen"], &lost["fault"]), (&json!(250), &json!("drop_notify")), "{lost}");
    let order_no = lost["order_no"].as_str().unwrap();
    operator.service.until_state(&operator.process.base, order_no, "paid").await;
    assert_eq!(learnt_by(lost["transaction_id"].as_str().unwrap()).await, "query");

    // An order that is there already.
    operator.service.place(&operator.process.base, "TRIG0001", 100).await;
    let there = operator.run(&[&pay[..], &["--order-no", "TRIG0001", "--fault", "duplicate_notify"]].concat()).await;
    assert_eq!((there.code, &there.json()["order_no"]), (0, &json!("TRIG0001")), "{}", there.err);
    operator.service.until_state(&operator.process.base, "TRIG0001", "paid").await;
    let again = operator.run(&[&pay[..], &["--order-no", "TRIG0001"]].concat()).await;
    assert_eq!((again.code, again.out.as_str()), (6, ""), "{}", again.err);
    assert!(again.err.contains("cannot be paid"), "{}", again.err);
    operator.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_ordered_where_no_simulator_answers() {
    let operator = Operator::new().await;
    let (sandbox, service) = (operator.service.wechat_url.clone(), operator.process.base.clone());
    let cases: [(&[&str], i32, &str); 7] = [
        (&["order.paid"], 2, "--sandbox is needed"),
        (&["order.paid", "--sandbox", "nowhere"], 2, "must be like http://"),
        (&["order.paid", "--sandbox", &service], 5, "is no simulator"),
        (&["order.paid", "--sandbox", &sandbox, "--fault", "drop"], 2, "must be like drop_notify"),
        (&["order.paid", "--sandbox", &sandbox, "--order-no", "NONE0001", "--merchant", "main"], 3, "not_found"),
        (&["retention", "--fault", "drop_notify", "--reason", "x"], 2, "is a job"),
        (&["retention"], 2, "--reason is needed"),
    ];
    for (arguments, code, says) in cases {
        let ran = operator.run(&[&["trigger"][..], arguments].concat()).await;
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }
    let db = operator.service.open_db().await;
    assert_eq!(number(&db, "SELECT COUNT(*) FROM orders").await, 0);
    operator.finish().await;
}
