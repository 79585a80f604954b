//! Whatever WeChat does, what was sent and what came is in no error, no `Debug` text and no log line.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::config::{Log, Wechat};
use wxpay_worker::telemetry;

use super::{APP_SECRET, CALLS, OPENID, TOKEN, USER_TOKEN, client, client_of};
use crate::wechat::server::{Answer, Received, Server, http, unreachable};
use crate::wechat::wechat;

/// What the answers hold, beside what they repeat of the call.
const GIVEN: [&str; 8] =
    ["GIVENtoken", "GIVENrefresh", "GIVENkey", "GIVENunion", "GIVENnick", "GIVENavatar", "GIVENticket", "13987654321"];

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Everything that every call says and logs, at the most talkative level.
fn said(config: &Wechat) -> (String, String) {
    let captured = Captured::default();
    let writer = captured.clone();
    let log = Log { json: false, filter: "trace".into() };
    let subscriber = telemetry::subscriber(&log, false, move || writer.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut said = String::new();
    tracing::subscriber::with_default(subscriber, || {
        runtime.block_on(async {
            let client = client_of(config);
            said.push_str(&format!("{client:?}"));
            for call in CALLS {
                match call.make(&client).await {
                    Ok(debug) => said.push_str(&debug),
                    Err(error) => said.push_str(&format!("{error} {error:?} {:?}", error.class())),
                }
            }
        });
    });
    (said, String::from_utf8(captured.0.lock().unwrap().clone()).unwrap())
}

fn assert_silent(what: &str, config: &Wechat) -> (String, String) {
    let (said, logged) = said(config);
    for text in [&said, &logged] {
        for secret in [APP_SECRET, TOKEN, USER_TOKEN, "081kCode", OPENID].into_iter().chain(GIVEN) {
            assert!(!text.contains(secret), "{what}: {secret} in {text}");
        }
    }
    (said, logged)
}

/// An answer that holds something for every call.
fn full() -> Value {
    json!({"access_token": "GIVENtoken", "expires_in": 7200, "refresh_token": "GIVENrefresh", "openid": OPENID,
           "unionid": "GIVENunion", "nickname": "GIVENnick", "headimgurl": "https://x/GIVENavatar",
           "session_key": "GIVENkey", "ticket": "GIVENticket",
           "phone_info": {"phoneNumber": "13987654321", "purePhoneNumber": "13987654321", "countryCode": 86,
                          "watermark": {"timestamp": 1, "appid": "wx8888888888888888"}}})
}

#[test]
fn a_success_says_nothing_of_what_it_holds() {
    let server = Server::saying(full().to_string());
    let (said, logged) = assert_silent("success", &wechat(&server.url, &server.url));
    for shown in ["Grant {", "Profile {", "Issued {", "MiniSession {", "Phone {"] {
        assert!(said.contains(shown), "{shown} in {said}");
    }
    assert!(!logged.contains("refused"), "{logged}");
}

#[test]
fn a_refusal_that_repeats_the_whole_call_is_logged_by_its_number() {
    for (errcode, level) in [(40164, "WARN"), (40029, "DEBUG")] {
        let server = Server::start(move |request: &Received| {
            let errmsg = format!("{}{} rid: 65f1-0a", request.head, request.body);
            let body = json!({"errcode": errcode, "errmsg": errmsg, "access_token": "GIVENtoken"});
            Answer::Bytes(http(200, &body.to_string()))
        });
        let (said, logged) = assert_silent("refusal", &wechat(&server.url, &server.url));
        assert!(said.contains(&format!("errcode {errcode}, rid 65f1-0a")), "{said}");
        let line = logged.lines().find(|line| line.contains(&errcode.to_string())).unwrap();
        for part in [level, "stable_token", "65f1-0a"] {
            assert!(logged.lines().any(|l| l.contains(part) && l.contains(&errcode.to_string())), "{part} in {line}");
        }
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_not_repeated() {
    // Each field of another kind, so that the reading stops at it.
    for field in ["access_token", "expires_in", "openid", "nickname", "unionid", "ticket", "phone_info", "session_key"]
    {
        for wrong in [json!(["GIVENtoken"]), json!({"GIVENkey": 1}), json!("GIVENtoken GIVENkey")] {
            let mut body = full();
            body[field] = wrong;
            let server = Server::saying(body.to_string());
            assert_silent(field, &wechat(&server.url, &server.url));
        }
    }
    let echo =
        Server::start(|request: &Received| Answer::Bytes(http(200, &format!("<p>{}{}", request.head, request.body))));
    let (said, _) = assert_silent("html", &wechat(&echo.url, &echo.url));
    assert!(said.contains("unusable answer: not JSON"), "{said}");
}

#[test]
fn a_broken_way_does_not_tell_what_was_on_it() {
    let redirecting = Server::start(|request: &Received| {
        let target = request.head.split(' ').nth(1).unwrap().to_owned();
        Answer::Bytes(format!("HTTP/1.1 302 X\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n").into_bytes())
    });
    let failing = Server::start(|request: &Received| Answer::Bytes(http(500, &request.head)));
    let breaking = Server::start(|_| Answer::Bytes(Vec::new()));
    let garbage = Server::start(|request: &Received| Answer::Bytes(request.head.clone().into_bytes()));
    let ways = [redirecting.url.clone(), failing.url.clone(), breaking.url.clone(), garbage.url.clone(), unreachable()];
    for url in ways {
        let (said, _) = assert_silent(&url, &wechat(&url, &url));
        assert!(["HTTP status", "no answer", "not sent"].iter().any(|kind| said.contains(kind)), "{said}");
    }
    let hanging = Server::start(|_| Answer::Hang);
    let impatient = Wechat { timeout: Duration::from_millis(200), ..wechat(&hanging.url, &hanging.url) };
    let (said, _) = assert_silent("hanging", &impatient);
    assert!(said.contains("timed out"), "{said}");
    // The client itself was shown above; it knows no secret, only where it calls.
    assert!(!format!("{:?}", client(&hanging.url)).contains(APP_SECRET));
}
