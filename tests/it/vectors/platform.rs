//! Each answer goes over a real connection to the call it belongs to.

use serde_json::{Value, json};
use wxpay_worker::config::TokenApi;
use wxpay_worker::ids::AppId;
use wxpay_worker::secret::Secret;
use wxpay_worker::wechat::mini_program::{code2session, phone_number};
use wxpay_worker::wechat::oauth::exchange;
use wxpay_worker::wechat::platform::{Class, PlatformClient, PlatformError};
use wxpay_worker::wechat::token::{access_token, jsapi_ticket};

use crate::wechat::server::Server;
use crate::wechat::wechat;

/// What the call makes of the answer, in the words of the vectors; for tokens, every API that gives one.
async fn read(endpoint: &str, body: &str) -> Vec<Result<Value, PlatformError>> {
    let server = Server::saying(body);
    let client = PlatformClient::new(&wechat(&server.url, &server.url)).unwrap();
    let (appid, secret) = (AppId::parse("wx8888888888888888").unwrap(), Secret::new("an-app-secret"));
    match endpoint {
        "sns/oauth2/access_token" => {
            let grant = exchange(&client, &appid, &secret, "CODE").await;
            vec![grant.map(|g| json!({ "openid": g.openid, "is_snapshotuser": g.is_snapshot_user }))]
        }
        "cgi-bin/token" | "any" => {
            let mut answers = Vec::new();
            for api in [TokenApi::Classic, TokenApi::Stable] {
                let issued = access_token(&client, &appid, &secret, api).await;
                answers.push(issued.map(|i| {
                    assert_eq!(i.value.expose(), "ACCESS_TOKEN");
                    json!({ "expires_in": i.expires_in_s })
                }));
            }
            answers
        }
        "cgi-bin/ticket/getticket" => {
            let issued = jsapi_ticket(&client, &Secret::new("TOKEN")).await;
            vec![issued.map(|i| json!({ "ticket": i.value.expose() }))]
        }
        "sns/jscode2session" => {
            let session = code2session(&client, &appid, &secret, "CODE").await;
            vec![session.map(|s| json!({ "openid": s.openid }))]
        }
        "wxa/business/getuserphonenumber" => {
            let phone = phone_number(&client, &Secret::new("TOKEN"), &appid, "CODE").await;
            vec![phone.map(|p| json!({ "purePhoneNumber": p.pure_phone_number, "countryCode": p.country_code }))]
        }
        endpoint => panic!("no test for {endpoint}"),
    }
}

fn handling(class: Class) -> &'static str {
    match class {
        Class::Busy => "retry_with_backoff",
        Class::TokenDead => "refresh_token_once_then_fail",
        Class::LoginOver => "restart_authorization",
        Class::Configuration => "configuration_error_ip_whitelist",
        Class::TooFrequent => "retry_next_minute",
        Class::QuotaUsedUp | Class::UserRefused | Class::Bug | Class::Other => "not asked by a vector",
    }
}

#[tokio::test]
async fn every_platform_vector_is_read_and_handled_as_it_says() {
    for v in super::of("platform", 14) {
        for answer in read(v.input("endpoint"), v.input("body")).await {
            let mut expected = v.expected.as_object().unwrap().clone();
            assert_eq!(expected.remove("ok").unwrap(), answer.is_ok(), "{}", v.name);
            match answer {
                Ok(read) => {
                    let snapshot = read["is_snapshotuser"] == true;
                    let handling = expected.remove("handling");
                    assert_eq!(handling.is_some(), snapshot, "{}: only a made-up user is refused", v.name);
                    assert!(!expected.is_empty(), "{}", v.name);
                    for (name, value) in expected {
                        assert_eq!(read[&name], value, "{}: {name}", v.name);
                    }
                }
                Err(PlatformError::Refused(refusal)) => {
                    assert_eq!(refusal.errcode, expected["errcode"], "{}", v.name);
                    assert_eq!(handling(refusal.class), expected["handling"], "{}", v.name);
                }
                Err(error) => panic!("{}: {error}", v.name),
            }
        }
    }
}
