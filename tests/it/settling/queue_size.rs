//! What an order takes of a queue on NATS, where acknowledged messages keep their room until the duplicate window ends.

use async_nats::jetstream;
use wxpay_worker::bus::Topology;

use crate::harness::service::TestService;
use crate::harness::within_timeout;

/// As docs/queue.md and `bus.max_bytes` in src/config/default.toml reckon.
const BYTES_OF_AN_ORDER: u64 = 8 * 1024;
/// For this many orders a second, twice over, the default suffices.
const ORDERS_PER_SECOND: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paid_order_takes_less_of_the_queue_than_its_size_is_reckoned_by() {
    let service = TestService::nats_sqlite().await.processes().await;
    // Workers in a process of their own get the order by the queue, too.
    let ingress = service.run_roles("ingress").await;
    let _workers = service.run_beside("worker,relay,scheduler", &[]).await;
    let orders = 10;
    for n in 0..orders {
        let order_no = format!("Q{n:06}");
        service.place(&ingress.base, &order_no, 100).await;
        service.pay(&order_no).await;
        service.until_state(&ingress.base, &order_no, "paid").await;
    }
    let nats = jetstream::new(async_nats::connect(service.queue.url()).await.unwrap());
    let bus = service.open_bus(&service.open_db().await).await;
    let filled = async || {
        let fill = bus.fill().await.unwrap();
        fill.iter().find(|fill| fill.stream == "PAY_IN").unwrap().bytes
    };
    // What a job publishes between the two questions is not in the first answer.
    let state = within_timeout("what the metric says", async {
        loop {
            let state = nats.get_stream("PAY_IN").await.unwrap().cached_info().state.clone();
            if filled().await == state.bytes {
                return state;
            }
        }
    })
    .await;
    assert!(state.messages >= 2 * orders, "{} messages", state.messages);
    let of_one = state.bytes / orders;
    assert!((BYTES_OF_AN_ORDER / 8..BYTES_OF_AN_ORDER).contains(&of_one), "{of_one} bytes an order");
    service.finish().await;
}

#[test]
fn the_default_size_holds_a_duplicate_window_of_a_hundred_orders_a_second_twice() {
    let topology = Topology::builtin(std::time::Duration::from_secs(30)).unwrap();
    let window_s = topology.stream_of("pay.in.main.order.requested").unwrap().duplicate_window_ms / 1000;
    let needed = 2 * window_s * ORDERS_PER_SECOND * BYTES_OF_AN_ORDER;
    let defaults: toml::Table = toml::from_str(include_str!("../../../src/config/default.toml")).unwrap();
    let default = u64::try_from(defaults["bus"]["max_bytes"].as_integer().unwrap()).unwrap();
    assert!((needed..needed * 5 / 4).contains(&default), "{default} instead of {needed}");
}
