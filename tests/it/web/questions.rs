//! Questions to WeChat on behalf of payers: how many one has, and what is left to others.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;
use wxpay_worker::bus::{ConsumerName, Delivery};
use wxpay_worker::event::command::QueryDue;
use wxpay_worker::event::envelope::Envelope;

use super::browser::{Browser, Platform, data, openid_of, stage, web};
use super::wallet::order_no;
use crate::harness::within_timeout;
use crate::http::stage::{REFRESH_WAIT, Stage, http_only, order};

/// What a payer is shown of an order about which WeChat is to be asked first.
async fn asked(stage: &Stage, browser: &Browser, order_no: &str) -> Value {
    let target = format!("/api/wechat/pay/status?order_no={order_no}&refresh=1");
    data(&browser.clone().get(stage, &target).await)
}

/// Awaits the question about this order.
async fn question(questions: &mut UnboundedReceiver<Delivery>, order_no: &str) {
    within_timeout("a question", async {
        loop {
            let question = questions.recv().await.unwrap();
            let question = Envelope::<QueryDue>::parse(&question.message.payload).unwrap();
            if question.data.order_no.as_str() == order_no {
                break;
            }
        }
    })
    .await;
}

/// Answers the question about this order as WeChat does where nothing is new.
async fn answer(stage: &Stage, questions: &mut UnboundedReceiver<Delivery>, order_no: &str) {
    question(questions, order_no).await;
    let id = stage.stored(order_no).await.unwrap().order.id;
    stage.store.query_answered(id, stage.clock.now()).await.unwrap();
}

/// Whether a request had WeChat asked, whose question is answered meanwhile. A busy machine may take longer for all of
/// it than a request waits.
async fn is_refreshed(asking: impl Future<Output = Value>, answering: impl Future<Output = ()>) -> bool {
    let begun = Instant::now();
    let (seen, ()) = tokio::join!(asking, answering);
    seen["refreshed"] == true || begun.elapsed() >= REFRESH_WAIT
}

#[tokio::test]
async fn a_payer_who_asks_again_and_again_uses_up_no_question_of_others() {
    let (stage, _platform) = stage().await;
    stage.work();
    let alice = Browser::logged_in(&stage, "good-Alice").await;
    let bob = Browser::logged_in(&stage, "good-Bob").await;
    let (of_alice, of_bob) = (order_no(&stage, &alice, "100").await, order_no(&stage, &bob, "100").await);
    let mut questions = stage.deliveries(ConsumerName::QUERY);
    let asking = asked(&stage, &alice, &of_alice);
    assert!(is_refreshed(asking, answer(&stage, &mut questions, &of_alice)).await);
    // At once: one of which two seconds later WeChat is asked would wait for the answer.
    join_all((0..60).map(|_| asked(&stage, &alice, &of_alice))).await;
    // The number of this payer is used up, also for an order of hers about which nothing was asked yet.
    let another = order_no(&stage, &alice, "101").await;
    assert_eq!(asked(&stage, &alice, &another).await["refreshed"], false);
    assert!(is_refreshed(asked(&stage, &bob, &of_bob), answer(&stage, &mut questions, &of_bob)).await);
    stage.finish().await;
}

#[tokio::test]
async fn payers_together_leave_questions_to_api_keys() {
    let platform = Platform::start().await;
    let stage = Stage::of(http_only("", &web(&platform)).merchant("queries_per_second = 2")).await;
    stage.work();
    let alice = Browser::logged_in(&stage, "good-Alice").await;
    let bob = Browser::logged_in(&stage, "good-Bob").await;
    let (of_alice, of_bob) = (order_no(&stage, &alice, "100").await, order_no(&stage, &bob, "100").await);
    stage.place(&order("A100001"), &[]).await;
    let mut questions = stage.deliveries(ConsumerName::QUERY);
    let asking = asked(&stage, &alice, &of_alice);
    assert!(is_refreshed(asking, answer(&stage, &mut questions, &of_alice)).await);
    // A second payer in this second gets what is known; if he were asked for, the key would have nothing left.
    let mut of_second = Box::pin(asked(&stage, &bob, &of_bob));
    tokio::select! {
        _ = &mut of_second => {}
        () = question(&mut questions, &of_bob) => {}
    }
    let by_key = async { stage.get("/v1/orders/A100001?refresh=1").await.json() };
    assert!(is_refreshed(by_key, answer(&stage, &mut questions, "A100001")).await);
    drop(of_second);
    stage.finish().await;
}

#[tokio::test]
async fn the_payer_of_a_later_attempt_sees_how_the_order_stands() {
    let (stage, _platform) = stage().await;
    stage.work();
    let alice = Browser::logged_in(&stage, "good-Alice").await;
    let bob = Browser::logged_in(&stage, "good-Bob").await;
    let placed = json!({"order_no": "A100001", "amount_fen": 100, "description": "茶", "trade_type": "NATIVE",
                        "product_id": "tea"});
    assert_eq!(stage.place(&placed, &[]).await.status, 200);
    let status = async |browser: &Browser| browser.clone().get(&stage, "/api/wechat/pay/status?order_no=A100001").await;
    assert_eq!(status(&alice).await.status, 404, "it is placed for no payer");
    // As after a new attempt of JSAPI, whose payer stands in what WeChat is sent.
    let params = json!({"trade_type": "JSAPI", "openid": openid_of("good-Alice")});
    stage.execute(&format!("UPDATE attempts SET params = '{params}'")).await;
    assert_eq!(data(&status(&alice).await)["state"], "payable");
    assert_eq!(status(&bob).await.status, 404, "it is another payer's");
    stage.finish().await;
}
