//! Several processes and one order.

use std::time::Duration;

use serde_json::{Value, json};

use crate::flows::on_all_four;
use crate::harness::service::{API_KEY, Environment, TestService, answer, jsapi};
use crate::harness::within_timeout;

/// Shorter than the second after which the other pay host is called as well.
const SLOW_MS: u64 = 700;

async fn keyed(service: &Environment, base: &str, key: &str, body: &Value) -> (u16, Value) {
    let request = service.http.post(format!("{base}/v1/orders")).bearer_auth(API_KEY).header("idempotency-key", key);
    let request = request.header("prefer", "wait=20").header("content-type", "application/json");
    answer(request.body(body.to_string())).await.unwrap()
}

/// A busy machine holds no process up for so long: a claim that ends too early is an order that is placed again.
pub const LEASE: &[(&str, &str)] = &[("WXPAY__STORE__LEASE_MS", "60000")];

/// What a process says of its publishes to the stream of work.
pub async fn commands_published(service: &Environment, base: &str) -> Vec<String> {
    let text = service.http.get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
    let is_work = |line: &&str| line.starts_with("wxpay_bus_publishes_total{") && line.contains("\"PAY_IN\"");
    text.lines().filter(is_work).map(str::to_owned).collect()
}

on_all_four! {
    async fn with_the_workers_in_the_process_an_order_needs_no_message(service) {
        let one = service.run_all_with(LEASE).await;
        let order = service.place(&one.base, "A710001", 100).await;
        assert!(order["pay_params"]["paySign"].is_string(), "{order}");
        assert_eq!(commands_published(&service, &one.base).await, [] as [String; 0]);
        assert_eq!(service.wechat_calls("unifiedorder", "A710001").await.len(), 1);
        // As a read of the database has it.
        let (_, read) = service.get(&one.base, "/v1/orders/A710001?merchant=main").await;
        for member in ["state", "updated_at", "created_at", "attempts", "order_token", "pending"] {
            assert_eq!(order[member], read[member], "{member}");
        }
        service.finish().await;
    }

    async fn an_ingress_alone_makes_no_call_and_a_worker_elsewhere_places_the_order_once(service) {
        let ingress = service.run_roles("ingress").await;
        let (status, order) = service.post(&ingress.base, "/v1/orders", &jsapi("A710002", 100)).await;
        assert_eq!((status, &order["state"]), (202, &json!("requested")), "{order}");
        assert!(service.wechat_calls("unifiedorder", "A710002").await.is_empty());
        let _workers = service.run_beside("worker,relay,scheduler", LEASE).await;
        service.until_state(&ingress.base, "A710002", "payable").await;
        assert_eq!(service.wechat_calls("unifiedorder", "A710002").await.len(), 1);
        service.finish().await;
    }

    async fn a_request_at_an_ingress_alone_is_answered_with_what_a_worker_elsewhere_commits(service) {
        let ingress = service.run_roles("ingress").await;
        let _workers = service.run_beside("worker,relay,scheduler", LEASE).await;
        let (status, order) = keyed(&service, &ingress.base, "k", &jsapi("A710004", 100)).await;
        assert_eq!((status, &order["state"]), (200, &json!("payable")), "{order}");
        let (_, read) = service.get(&ingress.base, "/v1/orders/A710004?merchant=main").await;
        assert_eq!(order["order_token"], read["order_token"]);
        assert_eq!(service.wechat_calls("unifiedorder", "A710004").await.len(), 1);
        service.finish().await;
    }

    async fn while_one_process_waits_for_wechat_a_repeat_at_another_makes_no_call(service) {
        let one = service.run_all_with(LEASE).await;
        let two = service.run_beside("ingress,worker,relay,scheduler", LEASE).await;
        service.faults(json!([{"on": "unifiedorder", "kind": "delay", "delay_ms": SLOW_MS, "times": null}])).await;
        let body = &jsapi("A710003", 100);
        let at = async |base: &str| keyed(&service, base, "k", body).await;
        let all = tokio::join!(at(&one.base), at(&two.base), at(&one.base), at(&two.base));
        for (status, order) in [&all.0, &all.1, &all.2, &all.3] {
            assert_eq!((*status, &order["state"]), (200, &json!("payable")), "{order}");
            assert_eq!(order["order_token"], all.0.1["order_token"]);
        }
        assert_eq!(service.wechat_calls("unifiedorder", "A710003").await.len(), 1);
        let db = service.open_db().await;
        assert_eq!(service.number(&db, "SELECT COUNT(*) FROM orders").await, 1);
        service.finish().await;
    }

    async fn two_contents_under_one_number_at_two_processes_make_one_order(service) {
        let one = service.run_all_with(LEASE).await;
        let two = service.run_beside("ingress,worker,relay,scheduler", LEASE).await;
        for n in 0..10 {
            let order_no = format!("A72{n:04}");
            let (cheap, dear) = (jsapi(&order_no, 100), jsapi(&order_no, 200));
            let (a, b) = tokio::join!(
                service.post(&one.base, "/v1/orders", &cheap),
                service.post(&two.base, "/v1/orders", &dear)
            );
            let (won, lost) = if a.0 == 200 { (&a, &b) } else { (&b, &a) };
            assert_eq!((won.0, &won.1["state"]), (200, &json!("payable")), "{a:?} {b:?}");
            assert_eq!((lost.0, &lost.1["code"]), (409, &json!("order_differs")), "{a:?} {b:?}");
            assert_eq!(service.wechat_order(&order_no).await["total_fee"], won.1["amount_fen"]);
        }
        service.finish().await;
    }
}

/// A caller that asks WeChat about the order, while the process that took it still waits for WeChat's first answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_while_an_order_is_being_placed_does_not_place_it_again() {
    let service = TestService::embedded_postgres().await.processes().await;
    let one = service.run_all_with(LEASE).await;
    let two = service.run_beside("ingress,worker,relay,scheduler", LEASE).await;
    service.faults(json!([{"on": "unifiedorder", "kind": "delay", "delay_ms": SLOW_MS, "times": null}])).await;
    let asked_while_placing = async {
        for n in 0.. {
            let order_no = format!("A73{n:04}");
            let (body, read) = (jsapi(&order_no, 100), format!("/v1/orders/{order_no}?merchant=main"));
            let refreshed = async {
                while service.get(&two.base, &read).await.0 != 200 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                service.get(&two.base, &format!("{read}&refresh=1")).await
            };
            let (placed, (status, _)) = tokio::join!(service.post(&one.base, "/v1/orders", &body), refreshed);
            assert_eq!((placed.0, status), (200, 200), "{}", placed.1);
            assert_eq!(service.wechat_calls("unifiedorder", &order_no).await.len(), 1);
            // Otherwise WeChat's answer was there before this process was so far.
            if !service.wechat_calls("orderquery", &order_no).await.is_empty() {
                break;
            }
        }
    };
    within_timeout("a question to WeChat while an order is being placed", asked_while_placing).await;
    service.finish().await;
}
