//! Pay hosts that cannot be reached, or take a call and break off, beside a backup host that says "later": nothing
//! counts as failed, and WeChat has one of each number.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Value, json};
use wxpay_worker::wechat::v2::xml;

use crate::harness::service::{InProcess, MCH_ID, TestService, answer, jsapi};
use crate::harness::within_timeout;
use crate::sandbox::refunds::parts::{https, identity};
use crate::settling::on_both;
use crate::wechat::server::{Answer, Received, Server, http, unreachable};
use crate::wechat::signed;

/// What the main host does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Main {
    /// It cannot be reached.
    Gone,
    /// It is WeChat, and breaks off before its answer to the calls that make something.
    BreaksOff,
}

pub fn path_of(request: &Received) -> &str {
    request.head.split(' ').nth(1).unwrap()
}

/// A way to WeChat, with the merchant's certificate where that is asked for.
#[derive(Clone)]
pub struct Carrier {
    runtime: tokio::runtime::Handle,
    http: reqwest::Client,
    plain: String,
    with_certificate: String,
}

impl Carrier {
    pub async fn to(service: &InProcess) -> Carrier {
        let url = format!("{}/_sandbox/certificates/{MCH_ID}", service.wechat_url);
        let (_, files) = answer(service.http.get(url)).await.unwrap();
        Carrier {
            runtime: tokio::runtime::Handle::current(),
            http: https(&files, Some(identity(&files))),
            plain: service.wechat_url.clone(),
            with_certificate: files["refund_base_url"].as_str().unwrap().to_owned(),
        }
    }

    /// WeChat's answer to the same request.
    pub fn carry(&self, request: &Received) -> Answer {
        let path = path_of(request);
        let base = if path.starts_with("/secapi/") { &self.with_certificate } else { &self.plain };
        let call = self.http.post(format!("{base}{path}")).body(request.body.clone());
        let said = async {
            let response = call.send().await.unwrap();
            (response.status().as_u16(), response.text().await.unwrap())
        };
        let (status, body) = self.runtime.block_on(said);
        Answer::Bytes(http(status, &body))
    }
}

/// WeChat, whose answers to calls of `path` are lost.
fn breaking_off(wechat: Carrier, path: &'static str) -> Server {
    Server::start(move |request| match wechat.carry(request) {
        Answer::Bytes(_) if path_of(request) == path => Answer::Bytes(Vec::new()),
        said => said,
    })
}

/// WeChat at its second site, which first refuses the call of each number so many times, with the code that the number
/// names.
fn refusing(wechat: Carrier, path: &'static str, number: &'static str, times: u32) -> Server {
    let refused: Mutex<HashMap<String, u32>> = Mutex::default();
    Server::start(move |request| {
        let sent = xml::parse(request.body.as_bytes()).unwrap();
        let code = sent.get(number).and_then(|number| Some(number.split_once('-')?.1.replace('-', "_")));
        let (true, Some(code)) = (path_of(request) == path, code) else { return wechat.carry(request) };
        let mut refused = refused.lock().unwrap();
        let count = refused.entry(sent[number].clone()).or_default();
        *count += 1;
        if *count > times {
            return wechat.carry(request);
        }
        let refusal = [("result_code", "FAIL"), ("err_code", code.as_str()), ("err_code_des", "later")];
        Answer::Bytes(http(200, &signed(refusal)))
    })
}

/// The service talks to these two from now on; they live as long as what is returned.
async fn behind(
    service: &mut InProcess,
    main: Main,
    path: &'static str,
    number: &'static str,
    times: u32,
) -> Vec<Server> {
    let wechat = Carrier::to(service).await;
    let backup = refusing(wechat.clone(), path, number, times);
    let mut hosts = Vec::new();
    let main_url = match main {
        Main::Gone => unreachable(),
        Main::BreaksOff => {
            hosts.push(breaking_off(wechat, path));
            hosts[0].url.clone()
        }
    };
    let backup_url = backup.url.clone();
    hosts.push(backup);
    service
        .restart_with(|config| {
            config.wechat.pay_url = main_url;
            config.wechat.pay_backup_url = backup_url;
        })
        .await;
    hosts
}

/// What WeChat has of a merchant whose orders begin with these letters.
async fn at_wechat(service: &InProcess, start: &str) -> Vec<String> {
    let url = format!("{}/_sandbox/ledger?mch_id={MCH_ID}", service.wechat_url);
    let (_, ledger) = answer(service.http.get(url)).await.unwrap();
    let numbers = ledger["orders"].as_array().unwrap().iter().map(|o| o["out_trade_no"].as_str().unwrap().to_owned());
    numbers.filter(|number| number.starts_with(start)).collect()
}

/// Moves the clock on until the order is so.
async fn in_time(service: &InProcess, order_no: &str, state: &str) {
    within_timeout(&format!("{order_no} {state}"), async {
        while service.stored(order_no).await.order.state.as_str() != state {
            service.pass(10).await;
        }
    })
    .await;
}

impl InProcess {
    /// The main host is called first again: which host answered is known to the process alone.
    async fn forget_the_hosts(&mut self) {
        self.restart_with(|_| {}).await;
    }
}

async fn orders_are_placed_once(db: crate::harness::db::TestDb, main: Main, codes: &[&str], times: u32) {
    let mut service = TestService::new().on(db).in_process().await;
    let hosts = behind(&mut service, main, "/pay/unifiedorder", "out_trade_no", times).await;
    for code in codes {
        service.forget_the_hosts().await;
        let order_no = format!("L1-{code}");
        let (status, order) = service.post_waiting("/v1/orders", &jsapi(&order_no, 100), 0).await;
        assert!([200, 202].contains(&status), "{main:?}, {code}: {order}");
        service.until_idle().await;
        in_time(&service, &order_no, "payable").await;
        let stored = service.stored(&order_no).await;
        assert_eq!(stored.order.attempts.len(), 1, "{main:?}, {code}");
        assert_eq!(at_wechat(&service, &order_no).await, std::slice::from_ref(&order_no), "{main:?}, {code}");
        service.pay(&order_no).await;
        service.until_state(&order_no, "paid").await;
        assert_eq!(service.events(&order_no).await, ["order.payable", "order.paid"], "{main:?}, {code}");
    }
    let calls = |host: &Server| host.received().iter().filter(|r| path_of(r) == "/pay/unifiedorder").count();
    assert!(hosts.iter().all(|host| calls(host) >= codes.len()), "both hosts were called");
    service.finish().await;
}

async fn money_goes_back_once(db: crate::harness::db::TestDb, main: Main, codes: &[(&str, usize)]) {
    let mut service = TestService::new().on(db).refunds_over_plain_http().in_process().await;
    let hosts = behind(&mut service, main, "/secapi/pay/refund", "out_refund_no", 1).await;
    for (n, (code, delays)) in codes.iter().enumerate() {
        service.forget_the_hosts().await;
        let (order_no, refund_no) = (format!("L20000{n}"), format!("L2-{code}"));
        service.paid(&order_no).await;
        let body = json!({"refund_no": refund_no, "all": true});
        let (status, refund) = service.give_back_at_once(&order_no, &body).await;
        assert!([200, 202].contains(&status), "{main:?}, {code}: {refund}");
        service.until_idle().await;
        service.poll_until(&refund_no, "processing").await;
        service.ends(&refund_no, "SUCCESS").await;
        service.until_refunded(&refund_no, "succeeded").await;
        let theirs = service.wechat_refunds(&order_no).await;
        let numbers: Vec<&Value> = theirs.iter().map(|r| &r["out_refund_no"]).collect();
        assert_eq!(numbers, [&json!(refund_no)], "{main:?}, {code}");
        let events = service.events(&order_no).await;
        let mut expected = vec!["order.payable", "order.paid", "refund.requested"];
        expected.extend(std::iter::repeat_n("refund.delayed", *delays));
        expected.push("refund.succeeded");
        assert_eq!(events, expected, "{main:?}, {code}");
    }
    let calls = |host: &Server| host.received().iter().filter(|r| path_of(r) == "/secapi/pay/refund").count();
    match (main, &hosts[..]) {
        (Main::Gone, [backup]) => assert!(calls(backup) >= 2 * codes.len(), "refused once, and called again"),
        // The question before the next call finds the refund.
        (Main::BreaksOff, [main, backup]) => assert_eq!((calls(main), calls(backup)), (codes.len(), 0)),
        (main, hosts) => panic!("{main:?} with {} hosts", hosts.len()),
    }
    service.finish().await;
}

on_both! {
    async fn an_order_that_the_backup_host_puts_off_is_placed_once_while_the_main_host_is_gone(db: TestDb) {
        // As often as a worker tries in one go: the rest is for the question that follows.
        orders_are_placed_once(db, Main::Gone, &["SYSTEMERROR", "FREQUENCY-LIMITED"], 3).await;
    }

    async fn an_order_that_the_backup_host_puts_off_is_placed_once_where_the_main_host_has_it(db: TestDb) {
        orders_are_placed_once(db, Main::BreaksOff, &["SYSTEMERROR", "FREQUENCY-LIMITED"], 3).await;
    }

    async fn a_refusal_of_the_backup_host_fails_no_order_that_the_main_host_has(db: TestDb) {
        orders_are_placed_once(db, Main::BreaksOff, &["PARAM-ERROR", "NOTENOUGH"], 1).await;
    }

    async fn a_refund_that_the_backup_host_puts_off_is_made_once_while_the_main_host_is_gone(db: TestDb) {
        // What people must examine is announced as a delay.
        money_goes_back_once(db, Main::Gone, &[("NOTENOUGH", 1), ("SYSTEMERROR", 0), ("FREQUENCY-LIMITED", 0)]).await;
    }

    async fn a_refund_that_the_main_host_has_is_not_sent_to_the_backup_host(db: TestDb) {
        money_goes_back_once(db, Main::BreaksOff, &[("NOTENOUGH", 0), ("PARAM-ERROR", 0)]).await;
    }
}
