//! The calls from end to end, against a server that checks the request as WeChat does and signs its reply.

use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::Fact;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::transport::Client;
use wxpay_worker::wechat::v2::close;
use wxpay_worker::wechat::v2::close::Closed;
use wxpay_worker::wechat::v2::query;
use wxpay_worker::wechat::v2::query::Asked;
use wxpay_worker::wechat::v2::refund;
use wxpay_worker::wechat::v2::refund::Refunding;
use wxpay_worker::wechat::v2::refund_query;
use wxpay_worker::wechat::v2::refund_query::{RefundsAsked, Which};
use wxpay_worker::wechat::v2::sign::verify;
use wxpay_worker::wechat::v2::unified_order;
use wxpay_worker::wechat::v2::unified_order::Placed;
use wxpay_worker::wechat::v2::xml;

use super::requests::{native_order, refund_order};
use super::server::{Answer, Received, Server, http, unreachable};
use super::{app_id, merchant, our_key, out_trade_no, signed, wechat};

const NOW: Timestamp = Timestamp::from_ms(1_735_787_045_123);

fn client(server: &Server) -> Client {
    Client::new(&wechat(&server.url, &server.url)).unwrap()
}

/// The request's path and verified elements.
fn opened(request: &Received) -> (String, xml::Fields) {
    let fields = xml::parse(request.body.as_bytes()).unwrap();
    assert_eq!(verify(&fields, &our_key()), Ok(SignType::HmacSha256));
    (request.head.split(' ').nth(1).unwrap().to_owned(), fields)
}

#[tokio::test]
async fn placing_again_repeats_every_parameter_but_the_nonce() {
    let server =
        Server::saying(signed([("result_code", "SUCCESS"), ("prepay_id", "wx2014"), ("code_url", "weixin://w/1")]));
    let params = unified_order::params(&native_order());
    for _ in 0..2 {
        let placed = unified_order::place(&client(&server), &our_key(), &params, NOW).await.placed;
        let Placed::Issued(prepay) = placed else { panic!("{placed:?}") };
        assert_eq!(prepay.prepay_id, "wx2014");
        assert_eq!(prepay.code_url.as_deref(), Some("weixin://w/1"));
        assert_eq!(prepay.issued_at, NOW);
    }
    let mut nonces = Vec::new();
    for request in server.received() {
        let (path, mut sent) = opened(&request);
        assert_eq!(path, "/pay/unifiedorder");
        sent.remove("sign").unwrap();
        nonces.push(sent.remove("nonce_str").unwrap());
        assert_eq!(sent, params);
    }
    assert_eq!(nonces.len(), 2);
    assert_ne!(nonces[0], nonces[1]);
    assert!(nonces.iter().all(|n| n.len() == 32));
}

#[tokio::test]
async fn a_query_asks_for_one_number_and_keeps_the_reply() {
    let reply = signed([("result_code", "SUCCESS"), ("out_trade_no", "T20250102"), ("trade_state", "NOTPAY")]);
    let server = Server::saying(reply.clone());
    let (merchant, number) = (merchant(&our_key()), out_trade_no("T20250102"));
    let asked = query::ask(&client(&server), &merchant, &app_id(), &number).await;
    let Asked::Fact(Fact::Unpaid { trade_state }, raw) = asked else { panic!("{asked:?}") };
    assert_eq!((trade_state.as_str(), raw.as_str()), ("NOTPAY", reply.as_str()));
    assert!(!format!("{raw:?}").contains("T20250102"), "evidence stays out of logs");
    let (path, sent) = opened(&server.received()[0]);
    assert_eq!(path, "/pay/orderquery");
    let names: Vec<_> = sent.keys().map(String::as_str).collect();
    assert_eq!(names, ["appid", "mch_id", "nonce_str", "out_trade_no", "sign", "sign_type"]);
}

#[tokio::test]
async fn a_close_reaches_its_address() {
    let server = Server::saying(signed([("result_code", "SUCCESS")]));
    let closed = close::close(&client(&server), &merchant(&our_key()), &app_id(), &out_trade_no("T20250102")).await;
    assert_eq!(closed, Closed::Done);
    let (path, sent) = opened(&server.received()[0]);
    assert_eq!((path.as_str(), sent["out_trade_no"].as_str()), ("/pay/closeorder", "T20250102"));
}

#[tokio::test]
async fn a_refund_is_accepted_and_then_asked_about_by_its_own_number() {
    let server = Server::start(|request| {
        let (path, sent) = opened(request);
        let of = |name: &str| sent.get(name).map_or("", String::as_str);
        let reply = match path.as_str() {
            "/secapi/pay/refund" => signed([
                ("result_code", "SUCCESS"),
                ("refund_id", "5000"),
                ("out_refund_no", of("out_refund_no")),
                ("transaction_id", of("transaction_id")),
                ("out_trade_no", "T20250102"),
                ("refund_fee", of("refund_fee")),
                ("total_fee", of("total_fee")),
            ]),
            "/pay/refundquery" => signed([("result_code", "FAIL"), ("err_code", "REFUNDNOTEXIST")]),
            path => panic!("{path}"),
        };
        Answer::Bytes(http(200, &reply))
    });
    let order = refund_order();
    let refunding = refund::place(&client(&server), &our_key(), &refund::params(&order)).await;
    let Refunding::Accepted(accepted, _) = refunding else { panic!("{refunding:?}") };
    assert_eq!((accepted.refund_fee, accepted.out_refund_no.clone()), (order.refund_fee, order.out_refund_no.clone()));
    let which = Which::Refund(order.out_refund_no);
    let asked = refund_query::ask(&client(&server), &merchant(&our_key()), &app_id(), &which).await;
    assert_eq!(asked, RefundsAsked::NotFound);
    assert_eq!(opened(&server.received()[1]).1["out_refund_no"], "R2025");
}

#[tokio::test]
async fn a_lost_answer_leaves_every_call_unknown() {
    let server = Server::start(|_| Answer::Bytes(Vec::new()));
    let (client, key, merchant) = (client(&server), our_key(), merchant(&our_key()));
    let (app, number) = (app_id(), out_trade_no("T20250102"));
    let placed = unified_order::place(&client, &key, &unified_order::params(&native_order()), NOW).await.placed;
    assert!(matches!(placed, Placed::Unknown { .. }), "{placed:?}");
    let asked = query::ask(&client, &merchant, &app, &number).await;
    assert!(matches!(asked, Asked::Unknown { .. }), "{asked:?}");
    let closed = close::close(&client, &merchant, &app, &number).await;
    assert!(matches!(closed, Closed::Unknown { .. }), "{closed:?}");
    let refunding = refund::place(&client, &key, &refund::params(&refund_order())).await;
    assert!(matches!(refunding, Refunding::Unknown { .. }), "{refunding:?}");
    let which = Which::Attempt(number, 0);
    let asked = refund_query::ask(&client, &merchant, &app, &which).await;
    assert!(matches!(asked, RefundsAsked::Unknown { .. }), "{asked:?}");
}

#[tokio::test]
async fn a_refund_without_certificate_waits_and_is_neither_refused_nor_unknown() {
    let server = Server::start(|_| Answer::Bytes(http(400, "<html>No required SSL certificate was sent</html>")));
    let refunding = refund::place(&client(&server), &our_key(), &refund::params(&refund_order())).await;
    assert!(matches!(refunding, Refunding::Later(_)), "{refunding:?}");
    let placed =
        unified_order::place(&client(&server), &our_key(), &unified_order::params(&native_order()), NOW).await.placed;
    assert!(matches!(placed, Placed::Unknown { .. }), "{placed:?}");
}

#[tokio::test]
async fn a_refusal_by_the_backup_host_does_not_hide_what_the_main_host_may_have_done() {
    let refusal = signed([("result_code", "FAIL"), ("err_code", "PARAM_ERROR"), ("err_code_des", "no")]);
    let backup = Server::saying(refusal);
    // Takes the call and breaks off before its answer.
    let main = Server::start(|_| Answer::Bytes(Vec::new()));
    let (key, order) = (our_key(), unified_order::params(&native_order()));
    for (first, open) in [(main.url.clone(), true), (unreachable(), false)] {
        let client = Client::new(&wechat(&first, &backup.url)).unwrap();
        let answer = unified_order::place(&client, &key, &order, NOW).await;
        assert!(matches!(answer.placed, Placed::Refused(_)), "{answer:?}");
        assert_eq!(answer.earlier_may_have_executed, open);
        // Of a number that only this host was called for, its refusal is one.
        let answer = unified_order::place(&client, &key, &order, NOW).await;
        assert!(matches!(answer.placed, Placed::Refused(_)) && !answer.earlier_may_have_executed, "{answer:?}");
        let client = Client::new(&wechat(&first, &backup.url)).unwrap();
        let refunding = refund::place(&client, &key, &refund::params(&refund_order())).await;
        assert!(matches!(refunding, Refunding::Unknown { .. }), "{refunding:?}");
        let refunding = refund::place(&client, &key, &refund::params(&refund_order())).await;
        assert!(matches!(refunding, Refunding::Refused(_)), "{refunding:?}");
    }
    assert_eq!(main.received().len(), 2, "the main host saw the first call of each client");
}
