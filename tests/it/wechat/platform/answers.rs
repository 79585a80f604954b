use serde_json::{Value, json};
use wxpay_worker::config::TokenApi;
use wxpay_worker::ids::OpenId;
use wxpay_worker::secret::Secret;
use wxpay_worker::wechat::mini_program::{MiniSession, Phone, code2session, phone_number};
use wxpay_worker::wechat::oauth::{Grant, Profile, exchange, userinfo};
use wxpay_worker::wechat::platform::PlatformError;
use wxpay_worker::wechat::token::{Issued, access_token, jsapi_ticket};

use super::{CALLS, CODE, OPENID, TOKEN, USER_TOKEN, client, secret};
use crate::wechat::app_id;
use crate::wechat::server::{Answer, Server};

async fn grant(body: Value) -> Result<Grant, PlatformError> {
    exchange(&client(&Server::saying(body.to_string()).url), &app_id(), &secret(), CODE).await
}

async fn profile(body: impl Into<String>) -> Result<Profile, PlatformError> {
    let openid = OpenId::parse(OPENID).unwrap();
    userinfo(&client(&Server::saying(body).url), &Secret::new(USER_TOKEN), &openid).await
}

async fn issued(body: Value) -> Result<Issued, PlatformError> {
    access_token(&client(&Server::saying(body.to_string()).url), &app_id(), &secret(), TokenApi::Stable).await
}

async fn session(body: Value) -> Result<MiniSession, PlatformError> {
    code2session(&client(&Server::saying(body.to_string()).url), &app_id(), &secret(), CODE).await
}

async fn phone(body: Value) -> Result<Phone, PlatformError> {
    phone_number(&client(&Server::saying(body.to_string()).url), &Secret::new(TOKEN), &app_id(), CODE).await
}

/// `object` with some fields replaced; `null` takes one away.
fn with(mut object: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => object.as_object_mut().unwrap().remove(name),
            value => object.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    object
}

fn granted() -> Value {
    json!({"access_token": USER_TOKEN, "expires_in": 7200, "refresh_token": "R", "openid": OPENID,
           "scope": "snsapi_base,snsapi_userinfo", "unionid": "o6_bmasdasdsad6_2sgVt7hMZOPfL"})
}

fn unreadable<T>(result: Result<T, PlatformError>) -> bool {
    matches!(result, Err(PlatformError::Unreadable(_)))
}

#[tokio::test]
async fn what_is_not_an_answer_of_wechat_is_unreadable_for_every_call() {
    for body in [
        "",
        "<html><body>502</body></html>",
        "null",
        "[]",
        "\"ok\"",
        "{",
        "{}",
        "{\"errcode\":0,\"errmsg\":\"ok\"}",
        "{\"errcode\":null}",
        "{\"errcode\":\"many\"}",
        "{\"errcode\":1.5}",
        "{\"errcode\":{}}",
    ] {
        let server = Server::saying(body);
        for call in CALLS {
            let error = call.make(&client(&server.url)).await.unwrap_err();
            assert!(matches!(error, PlatformError::Unreadable(_)), "{body} for {call:?}: {error}");
        }
        assert_eq!(server.received().len(), CALLS.len(), "{body}: not asked again");
    }
    let not_a_text = || Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe".to_vec());
    let server = Server::start(move |_| not_a_text());
    for call in CALLS {
        assert!(unreadable(call.make(&client(&server.url)).await));
    }
}

#[tokio::test]
async fn an_answer_counts_by_its_content_and_not_by_its_content_type() {
    for header in ["", "content-type: text/html\r\n", "content-type: application/json; charset=gbk\r\n"] {
        let body = json!({"access_token": "A", "expires_in": 7200}).to_string();
        let reply =
            format!("HTTP/1.1 200 OK\r\n{header}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let server = Server::start(move |_| Answer::Bytes(reply.clone().into_bytes()));
        let token = access_token(&client(&server.url), &app_id(), &secret(), TokenApi::Classic).await.unwrap();
        assert_eq!(token.value.expose(), "A", "{header}");
    }
}

#[tokio::test]
async fn a_code_gives_the_user_and_the_users_own_token() {
    for errcode in [Value::Null, json!(0), json!("0")] {
        let grant = grant(with(granted(), json!({ "errcode": errcode }))).await.unwrap();
        assert_eq!(grant.openid.as_str(), OPENID);
        assert_eq!(grant.unionid.as_deref(), Some("o6_bmasdasdsad6_2sgVt7hMZOPfL"));
        assert_eq!((grant.access_token.expose(), &*grant.scope), (USER_TOKEN, "snsapi_base,snsapi_userinfo"));
        assert!(!grant.is_snapshot_user);
    }
    let bare = grant(json!({"access_token": USER_TOKEN, "openid": OPENID})).await.unwrap();
    assert_eq!((bare.unionid, &*bare.scope), (None, ""));
}

#[tokio::test]
async fn only_a_plain_no_makes_a_user_real() {
    for (flag, snapshot) in [
        (Value::Null, false),
        (json!(0), false),
        (json!("0"), false),
        (json!(false), false),
        (json!(1), true),
        (json!("1"), true),
        (json!(true), true),
        (json!(2), true),
        (json!("yes"), true),
    ] {
        let grant = grant(with(granted(), json!({ "is_snapshotuser": flag }))).await.unwrap();
        assert_eq!(grant.is_snapshot_user, snapshot, "{flag}");
    }
    let explicit_null = granted().to_string().replacen('{', "{\"is_snapshotuser\":null,", 1);
    let server = Server::saying(explicit_null);
    let grant = exchange(&client(&server.url), &app_id(), &secret(), CODE).await.unwrap();
    assert!(!grant.is_snapshot_user);
}

#[tokio::test]
async fn an_openid_or_a_token_that_is_none_is_not_taken() {
    for openid in ["", "o p", "../x", "o\"><script>", &"o".repeat(129)] {
        assert!(unreadable(grant(with(granted(), json!({ "openid": openid }))).await), "{openid}");
        assert!(unreadable(session(json!({"openid": openid, "session_key": "K"})).await), "{openid}");
    }
    for token in ["", "a b", "a\nb", "令牌", &"t".repeat(2049)] {
        assert!(unreadable(grant(with(granted(), json!({ "access_token": token }))).await), "{token}");
        assert!(unreadable(issued(json!({"access_token": token, "expires_in": 7200})).await), "{token}");
        let server = Server::saying(json!({"errcode": 0, "ticket": token, "expires_in": 7200}).to_string());
        assert!(unreadable(jsapi_ticket(&client(&server.url), &Secret::new(TOKEN)).await), "{token}");
    }
    let long = "t".repeat(2048);
    assert_eq!(issued(json!({"access_token": long, "expires_in": 7200})).await.unwrap().value.expose(), long);
}

#[tokio::test]
async fn an_odd_unionid_does_not_prevent_the_login() {
    for odd in [json!(""), json!("a b"), json!("u".repeat(129))] {
        assert_eq!(grant(with(granted(), json!({ "unionid": odd }))).await.unwrap().unionid, None, "{odd}");
        let session = session(json!({"openid": OPENID, "session_key": "K", "unionid": odd})).await.unwrap();
        assert_eq!((session.openid.as_str(), session.unionid), (OPENID, None), "{odd}");
    }
}

#[tokio::test]
async fn a_lifetime_is_a_number_of_seconds_in_quotes_or_not() {
    for (expires_in, seconds) in [(json!(7200), 7200), (json!("300"), 300), (json!(1), 1)] {
        let issued = issued(json!({"access_token": "A", "expires_in": expires_in})).await.unwrap();
        assert_eq!(issued.expires_in_s, seconds);
    }
    for none in [json!(0), json!(-1), json!(7200.5), json!("soon"), json!(4_294_967_296_i64), Value::Null] {
        assert!(unreadable(issued(json!({"access_token": "A", "expires_in": none})).await), "{none}");
    }
}

#[tokio::test]
async fn a_profile_is_read_with_whatever_characters_a_nickname_has() {
    let body = format!(
        "{{\"openid\":\"{OPENID}\",\"nickname\":\"张\u{1}三\u{1f600}\",\"sex\":0,\"privilege\":[],\
         \"headimgurl\":\"https://thirdwx.qlogo.cn/mmopen/x/132\",\"unionid\":\"oU_1\"}}\n"
    );
    let expected = Profile {
        nickname: "张 三\u{1f600}".into(),
        avatar_url: Some("https://thirdwx.qlogo.cn/mmopen/x/132".into()),
        unionid: Some("oU_1".into()),
    };
    assert!(profile(body).await.unwrap() == expected);
    let nothing = Profile { nickname: String::new(), avatar_url: None, unionid: None };
    for avatar in [json!(""), Value::Null, json!("javascript:alert(1)"), json!("data:text/html,x"), json!("//x/y")] {
        let body = json!({"openid": OPENID, "nickname": "", "headimgurl": avatar});
        assert!(profile(body.to_string()).await.unwrap() == nothing, "{avatar}");
    }
}

#[tokio::test]
async fn the_profile_of_another_user_is_not_taken() {
    for openid in [json!("oAnother"), Value::Null] {
        assert!(unreadable(profile(json!({"openid": openid, "nickname": "n"}).to_string()).await), "{openid}");
    }
}

#[tokio::test]
async fn a_mini_program_login_without_its_session_key_is_none() {
    assert!(unreadable(session(json!({ "openid": OPENID })).await));
    let session = session(json!({"openid": OPENID, "session_key": "K", "unionid": "oU_1"})).await.unwrap();
    assert!(session == MiniSession { openid: OpenId::parse(OPENID).unwrap(), unionid: Some("oU_1".into()) });
}

fn numbered(changes: Value) -> Value {
    let info = json!({"phoneNumber": "+85212345678", "purePhoneNumber": "12345678", "countryCode": "852",
                      "watermark": {"timestamp": 1637744274, "appid": "wx8888888888888888"}});
    json!({"errcode": 0, "errmsg": "ok", "phone_info": with(info, changes)})
}

#[tokio::test]
async fn a_phone_number_of_this_app_is_taken_however_its_country_is_written() {
    for country in [json!("852"), json!(852), json!("+852")] {
        let phone = phone(numbered(json!({ "countryCode": country }))).await.unwrap();
        let expected = Phone {
            phone_number: "+85212345678".into(),
            pure_phone_number: "12345678".into(),
            country_code: "852".into(),
        };
        assert!(phone == expected, "{country}");
    }
}

#[tokio::test]
async fn a_phone_number_of_another_app_or_without_a_watermark_is_not_taken() {
    for watermark in [json!({"timestamp": 1, "appid": "wx1111111111111111"}), json!({"timestamp": 1}), Value::Null] {
        assert!(unreadable(phone(numbered(json!({ "watermark": watermark }))).await), "{watermark}");
    }
}

#[tokio::test]
async fn a_phone_number_that_is_none_is_not_taken() {
    for number in [json!(""), json!("call me"), json!("+"), json!("1".repeat(33)), json!(13800000000_i64)] {
        for field in ["phoneNumber", "purePhoneNumber"] {
            assert!(unreadable(phone(numbered(json!({ field: number }))).await), "{field} {number}");
        }
    }
    for country in [json!(""), json!(true), json!([]), json!(8.6), Value::Null] {
        assert!(unreadable(phone(numbered(json!({ "countryCode": country }))).await), "{country}");
    }
}
