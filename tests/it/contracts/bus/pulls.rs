//! How the workers of a consumer on NATS ask for messages: in few requests, because the server keeps some hundred of a
//! consumer for all processes together, and again after a pause where it keeps no more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::{self, stream};
use futures_util::StreamExt;
use tokio::sync::{Semaphore, mpsc};
use wxpay_worker::bus::Verdict;

use crate::harness::bus::{Backend, Consumer, NEEDS, Shelf, TestBus, message, next, publish_all, text};
use crate::harness::within_timeout;

async fn stream_of(client: &async_nats::Client) -> stream::Stream {
    jetstream::new(client.clone()).get_stream("T_IN").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_become_free_one_by_one_make_few_requests() {
    const PLACES: usize = 64;
    const MESSAGES: u64 = 40;
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let (seen, mut deliveries) = mpsc::unbounded_channel();
    let may_end = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&may_end);
    let consumer = Consumer::start(&stage.bus, PLACES, &Shelf::new(), move |_| {
        let (seen, wait) = (seen.clone(), Arc::clone(&wait));
        async move {
            let _ = seen.send(());
            wait.acquire().await.unwrap().forget();
            Verdict::Done
        }
    });
    publish_all(&stage.bus, (0..MESSAGES).map(|n| message(n.to_string())).collect()).await;
    for _ in 0..MESSAGES {
        within_timeout("a delivery", deliveries.recv()).await.unwrap();
    }
    for left in (0..MESSAGES).rev() {
        may_end.add_permits(1);
        stage.until_lag("an acknowledgement", |lag| lag.in_flight == left).await;
    }
    let stream = stream_of(&async_nats::connect(stage.nats().url()).await.unwrap()).await;
    let waiting = stream.consumer_info("worker").await.unwrap().num_waiting;
    assert!((1..=8).contains(&waiting), "{waiting} requests wait");
    consumer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_server_refuses_is_made_again_after_a_pause() {
    let stage = TestBus::open(Backend::nats().await, NEEDS).await;
    let client = async_nats::connect(stage.nats().url()).await.unwrap();
    let stream = stream_of(&client).await;
    let found = stream.consumer_info("worker").await.unwrap().config;
    stream.delete_consumer("worker").await.unwrap();
    // As it was, but that the server keeps one request, which another client makes first.
    let narrow = pull::Config {
        durable_name: Some("worker".into()),
        max_deliver: found.max_deliver,
        ack_wait: found.ack_wait,
        max_ack_pending: found.max_ack_pending,
        filter_subject: found.filter_subject,
        max_waiting: 1,
        ..Default::default()
    };
    let stranger: PullConsumer = stream.create_consumer(narrow).await.unwrap();
    let mut taken = stranger.batch().max_messages(1).expires(Duration::from_secs(60)).messages().await.unwrap();
    within_timeout("the other client's request", async {
        while stream.consumer_info("worker").await.unwrap().num_waiting < 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let mut requests = client.subscribe("$JS.API.CONSUMER.MSG.NEXT.T_IN.worker").await.unwrap();
    // The server has the subscription once it answers.
    stream.consumer_info("worker").await.unwrap();

    let (consumer, mut deliveries) = Consumer::recording(&stage.bus, 4, &Shelf::new());
    within_timeout("a request", requests.next()).await.unwrap();
    let first = Instant::now();
    for _ in 0..4 {
        within_timeout("a further request", requests.next()).await.unwrap();
    }
    // Pauses of 100, 200, 400 and 800 ms lie between them.
    assert!(first.elapsed() >= Duration::from_millis(500), "five requests within {:?}", first.elapsed());

    stage.publish(message("for the other client")).await;
    let message_of_other = within_timeout("its message", taken.next()).await.unwrap().unwrap();
    message_of_other.ack().await.unwrap();
    stage.publish(message("for the workers")).await;
    assert_eq!(text(&next(&mut deliveries).await), "for the workers");
    consumer.stop().await;
}
