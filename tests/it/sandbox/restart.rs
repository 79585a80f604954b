//! What outlives the process with a journal.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use wxpay_worker::clock::Clock;
use wxpay_worker::sandbox::{Options, Sandbox, StartError};

use super::parts::{Merchant, Shop, clock, loopback, order, settings};

async fn start(state: &Path, clock: &Clock) -> Result<Shop, StartError> {
    start_scaled(state, clock, 1000).await
}

async fn start_scaled(state: &Path, clock: &Clock, time_scale: u32) -> Result<Shop, StartError> {
    let options = Options { state: Some(state.to_owned()), clock: clock.clone(), ..Options::default() };
    let running = Sandbox::start_with(loopback().await, settings(time_scale), options).await?;
    Ok(Shop::over(running, clock.clone()))
}

#[tokio::test]
async fn a_restarted_simulator_knows_what_was_placed_paid_and_closed() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let (clock, merchant) = (clock(), Merchant::open().await);
    let shop = start(&state, &clock).await.unwrap();
    let paid = shop.prepay(merchant.order("PAID-01")).await;
    let payment = shop.pay(&paid).await;
    shop.deliveries(1).await;
    let open = shop.prepay(order("OPEN-01")).await;
    shop.prepay(order("OPEN-01")).await;
    shop.control("cancel", json!({"prepay_id": open})).await;
    shop.prepay(order("CLOSED-01")).await;
    shop.close("CLOSED-01").await;
    let before = shop.ledger().await;
    shop.sandbox.shutdown().await;

    let shop = start(&state, &clock).await.unwrap();
    assert_eq!(shop.ledger().await, before);
    let answer = shop.query("PAID-01").await;
    assert_eq!(answer["trade_state"], "SUCCESS");
    assert_eq!(answer["transaction_id"], payment["transaction_id"].as_str().unwrap());
    assert_eq!(shop.place(merchant.order("PAID-01")).await["err_code"], "ORDERPAID");
    assert_eq!(shop.control("pay", json!({"prepay_id": paid})).await.1["error"], "already_paid");
    assert_eq!(shop.query("CLOSED-01").await["trade_state"], "CLOSED");
    let second = shop.pay(&open).await;
    assert_ne!(second["transaction_id"], payment["transaction_id"], "no number is issued twice");
    assert_ne!(shop.prepay(order("NEW-0001")).await, paid);
}

#[tokio::test]
async fn repeats_go_on_after_a_restart_until_the_merchant_takes_note() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let (clock, mut merchant) = (clock(), Merchant::open().await);
    merchant.answer_with(&[(500, ""), (500, ""), (500, "")]);
    let shop = start_scaled(&state, &clock, 1).await.unwrap();
    let prepay_id = shop.prepay(merchant.order("A100001")).await;
    shop.pay(&prepay_id).await;
    // Fifteen seconds lie before the second one: it does not begin while the simulator stops.
    shop.deliveries(1).await;
    shop.sandbox.shutdown().await;

    // They are 15 ms now, and again 15 and 30.
    let shop = start(&state, &clock).await.unwrap();
    let deliveries = shop.deliveries(4).await;
    let acknowledged = deliveries.iter().rfind(|d| d["outcome"] == "acknowledged").unwrap();
    assert_eq!(acknowledged["attempt"].as_u64().unwrap(), deliveries.len() as u64, "no attempt is counted twice");
    for _ in 0..deliveries.len() {
        assert_eq!(merchant.next().await.fields()["out_trade_no"], "A100001");
    }
    shop.sandbox.shutdown().await;
    let shop = start(&state, &clock).await.unwrap();
    assert_eq!(shop.deliveries(1).await.len(), deliveries.len());
    assert!(merchant.heard.try_recv().is_err(), "taken note of is taken note of");
}

#[tokio::test]
async fn a_torn_last_line_is_cut_and_a_broken_one_before_it_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let clock = clock();
    let shop = start(&state, &clock).await.unwrap();
    shop.prepay(order("A100001")).await;
    shop.sandbox.shutdown().await;
    let whole = std::fs::read(&state).unwrap();
    std::fs::OpenOptions::new().append(true).open(&state).unwrap().write_all(b"{\"record\":\"pa").unwrap();

    let shop = start(&state, &clock).await.unwrap();
    assert_eq!(shop.query("A100001").await["trade_state"], "NOTPAY");
    assert_eq!(std::fs::read(&state).unwrap(), whole);
    shop.prepay(order("A100002")).await;
    shop.sandbox.shutdown().await;
    let shop = start(&state, &clock).await.unwrap();
    assert_eq!(shop.ledger().await["orders"].as_array().unwrap().len(), 2);
    shop.sandbox.shutdown().await;

    let mut broken = b"{}\n".to_vec();
    broken.extend_from_slice(&whole);
    std::fs::write(&state, broken).unwrap();
    assert!(matches!(start(&state, &clock).await, Err(StartError::Journal(_))));
}

#[tokio::test]
async fn orders_of_an_unknown_merchant_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.jsonl");
    let shop = start(&state, &clock()).await.unwrap();
    shop.prepay(order("A100001")).await;
    shop.sandbox.shutdown().await;
    let mut fewer = settings(1);
    fewer.merchants.remove(0);
    let options = Options { state: Some(state), clock: clock(), ..Options::default() };
    let refused = Sandbox::start_with(loopback().await, fewer, options).await;
    assert!(matches!(refused, Err(StartError::UnknownMerchant(mch_id)) if mch_id.as_str() == "10000100"));
}

#[tokio::test]
async fn a_state_that_is_no_file_is_an_error() {
    assert!(matches!(start(Path::new("/dev/full"), &clock()).await, Err(StartError::Journal(_))));
    assert!(matches!(start(Path::new("/nowhere/state"), &clock()).await, Err(StartError::Journal(_))));
}

#[tokio::test]
async fn a_simulator_without_merchants_does_not_start() {
    let mut empty = settings(1);
    empty.merchants.clear();
    assert!(matches!(Sandbox::start(loopback().await, empty).await, Err(StartError::NoMerchant)));
}
