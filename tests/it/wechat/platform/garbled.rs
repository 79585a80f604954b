//! Answers with characters that no text has: what can be read of them is kept.

use wxpay_worker::ids::OpenId;
use wxpay_worker::secret::Secret;
use wxpay_worker::wechat::oauth::{Profile, exchange, userinfo};
use wxpay_worker::wechat::platform::{Class, PlatformError};

use super::{CODE, OPENID, USER_TOKEN, client, secret};
use crate::wechat::app_id;
use crate::wechat::server::{Answer, Server, http};

const UNIONID: &str = "o6_bmasdasdsad6_2sgVt7hMZOPfL";
const AVATAR: &str = "https://thirdwx.qlogo.cn/x/132";

/// A server that answers these bytes.
fn bytes(body: &[u8]) -> Server {
    let text = http(200, "");
    let head =
        String::from_utf8(text).unwrap().replace("content-length: 0", &format!("content-length: {}", body.len()));
    let whole = [head.into_bytes(), body.to_vec()].concat();
    Server::start(move |_| Answer::Bytes(whole.clone()))
}

/// The profile of a user whose nickname is stored as these bytes.
async fn named(nickname: &[u8]) -> Result<Profile, PlatformError> {
    let rest = format!("\",\"headimgurl\":\"{AVATAR}\",\"unionid\":\"{UNIONID}\"}}");
    let body = [format!("{{\"openid\":\"{OPENID}\",\"nickname\":\"").as_bytes(), nickname, rest.as_bytes()].concat();
    userinfo(&client(&bytes(&body).url), &Secret::new(USER_TOKEN), &OpenId::parse(OPENID).unwrap()).await
}

#[tokio::test]
async fn a_nickname_that_is_no_text_costs_neither_avatar_nor_unionid() {
    for (what, nickname, readable) in [
        ("GBK", &b"\xc0\xcf\xcd\xf5"[..], ""),
        ("GBK whose second byte is a backslash", b"a\x81\x5cb\x95\x5c", "ab"),
        ("a character that was cut", b"Tom\xe5\xb0", "Tom"),
        ("one that was cut before an escape", b"Tom\xe5\x5c\"", "Tom\""),
        ("a lone surrogate", b"Tom\\ud83d", "Tom"),
        ("the wrong one first", b"Tom\\ude00\\ud83d!", "Tom!"),
        ("a pair", b"\\ud83d\\ude00", "\u{1f600}"),
        ("an escaped backslash before what is no escape", b"a\\\\ud83d", "a\\ud83d"),
        ("a pair in three bytes each", b"\xed\xa0\xbd\xed\xb8\x80", "\u{1f600}"),
        ("half of one", b"Tom\xed\xa0\xbd", "Tom"),
        ("a raw control character", b"To\x07m", "To m"),
    ] {
        let profile = named(nickname).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!(profile.nickname.replace('\u{fffd}', ""), readable, "{what}");
        assert_eq!(
            (profile.avatar_url.as_deref(), profile.unionid.as_deref()),
            (Some(AVATAR), Some(UNIONID)),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_byte_order_mark_and_members_of_another_kind_cost_nothing_either() {
    let rest = format!("\"headimgurl\":\"{AVATAR}\",\"unionid\":\"{UNIONID}\"}}");
    for nickname in ["null", "7", "[]", "{\"a\":1}"] {
        let body = format!("\u{feff}{{\"openid\":\"{OPENID}\",\"nickname\":{nickname},{rest}");
        let openid = OpenId::parse(OPENID).unwrap();
        let profile = userinfo(&client(&bytes(body.as_bytes()).url), &Secret::new(USER_TOKEN), &openid).await.unwrap();
        assert_eq!((profile.nickname.as_str(), profile.unionid.as_deref()), ("", Some(UNIONID)), "{nickname}");
    }
}

#[tokio::test]
async fn an_error_in_words_that_are_no_text_keeps_its_number() {
    let body = [&b"{\"errcode\":40029,\"errmsg\":\"\xce\xde\xd0\xa7 \xe5\xb0 rid: 65f1-0a\"}"[..]].concat();
    let refused = exchange(&client(&bytes(&body).url), &app_id(), &secret(), CODE).await.err();
    let Some(PlatformError::Refused(refusal)) = refused else { panic!("{refused:?}") };
    assert_eq!((refusal.errcode, refusal.class, refusal.rid.as_deref()), (40029, Class::LoginOver, Some("65f1-0a")));
}

#[tokio::test]
async fn what_cannot_be_read_never_turns_into_another_valid_value() {
    let body = [format!("{{\"openid\":\"{OPENID}").as_bytes(), b"\xd0\",\"nickname\":\"x\"}"].concat();
    let openid = OpenId::parse(OPENID).unwrap();
    let profile = userinfo(&client(&bytes(&body).url), &Secret::new(USER_TOKEN), &openid).await;
    assert!(matches!(profile, Err(PlatformError::Unreadable(_))), "{profile:?}");
    let token =
        [b"{\"access_token\":\"abc\xd0\",\"openid\":\"", OPENID.as_bytes(), b"\",\"scope\":\"snsapi_base\"}"].concat();
    let granted = exchange(&client(&bytes(&token).url), &app_id(), &secret(), CODE).await;
    assert!(matches!(granted, Err(PlatformError::Unreadable(_))), "{granted:?}");
}
