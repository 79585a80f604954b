//! A mini program's side as a server sees it: the login's code, the session key, the phone number.

use std::time::Duration;

use serde_json::{Value, json};

use super::login::silent;
use super::{mini_query, session};
use crate::sandbox::parts::{APPID, MINI_APPID, MINI_SECRET, OPENID, SECRET, Shop, good};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_mini_programs_code_gives_a_session_once() {
    let shop = Shop::open().await;
    let issued = shop.operate("mini_code", json!({"openid": OPENID})).await;
    let code = good(&issued, "code");
    let answer = session(&shop, code).await;
    assert_eq!((answer["openid"].as_str(), answer.get("errcode")), (Some(OPENID), None));
    assert_eq!(good(&answer, "session_key").len(), 24);
    good(&answer, "unionid");
    assert_eq!(session(&shop, code).await["errcode"], 40163);
    assert_eq!(session(&shop, "never-issued").await["errcode"], 40029);
    let late = shop.operate("mini_code", json!({})).await;
    shop.clock.advance(5 * MINUTE);
    assert_eq!(session(&shop, good(&late, "code")).await["errcode"], 40029);
    assert_eq!(session(&shop, &silent(&shop).await).await["errcode"], 40029, "a page's code is none of a mini program");
    for (name, value, errcode) in [
        ("appid", "", 41002),
        ("appid", APPID, 40013),
        ("secret", "", 41004),
        ("secret", SECRET, 40125),
        ("js_code", "", 41008),
        ("grant_type", "x", 40002),
    ] {
        let mut query = mini_query("c");
        query.iter_mut().find(|(n, _)| *n == name).unwrap().1 = value;
        assert_eq!(shop.ask("/sns/jscode2session", &query).await["errcode"], errcode, "{name}={value}");
    }
}

#[tokio::test]
async fn a_hundred_logins_a_minute_are_one_users_limit_and_the_code_survives_it() {
    let shop = Shop::open().await;
    let code = async |openid: &str| {
        let issued = shop.operate("mini_code", json!({"openid": openid})).await;
        good(&issued, "code").to_owned()
    };
    for n in 0..100 {
        let answer = session(&shop, &code("oBusy").await).await;
        assert!(answer.get("errcode").is_none(), "{n}: {answer}");
    }
    let next = code("oBusy").await;
    assert_eq!(session(&shop, &next).await["errcode"], 45011);
    good(&session(&shop, &code("oCalm").await).await, "openid");
    shop.clock.advance(MINUTE);
    good(&session(&shop, &next).await, "openid");
}

#[tokio::test]
async fn a_risky_user_is_blocked() {
    let shop = Shop::open().await;
    shop.operate("user", json!({"openid": OPENID, "risky": true})).await;
    let issued = shop.operate("mini_code", json!({})).await;
    assert_eq!(issued["openid"], OPENID);
    assert_eq!(session(&shop, good(&issued, "code")).await["errcode"], 40226);
}

#[tokio::test]
async fn a_phone_code_gives_the_number_with_the_apps_own_watermark() {
    let shop = Shop::open().await;
    let token = good(&shop.stable_of(MINI_APPID, MINI_SECRET, false).await, "access_token").to_owned();
    let phone = async |token: &str, body: Value| {
        shop.tell("/wxa/business/getuserphonenumber", &[("access_token", token)], body).await
    };
    let code = async |body: Value| good(&shop.operate("phone_code", body).await, "code").to_owned();
    let mainland = code(json!({"phone": "13912345678"})).await;
    let answer = phone(&token, json!({"code": mainland})).await;
    let expected = json!({
        "phoneNumber": "13912345678", "purePhoneNumber": "13912345678", "countryCode": 86,
        "watermark": {"timestamp": 1_735_787_045, "appid": MINI_APPID},
    });
    assert_eq!((&answer["errcode"], &answer["phone_info"]), (&json!(0), &expected));
    assert_eq!(phone(&token, json!({"code": mainland})).await["errcode"], 40029, "once");
    let abroad = code(json!({"phone": "12345678", "country_code": "852"})).await;
    let answer = phone(&token, json!({"code": abroad})).await;
    let info = &answer["phone_info"];
    assert_eq!((&info["phoneNumber"], &info["countryCode"]), (&json!("+85212345678"), &json!("852")));

    let fresh = code(json!({"openid": OPENID})).await;
    let account = good(&shop.stable().await, "access_token").to_owned();
    assert_eq!(phone(&account, json!({"code": fresh})).await["errcode"], 40013, "an official account has no phones");
    assert_eq!(phone("", json!({"code": fresh})).await["errcode"], 41001);
    assert_eq!(phone(&token, json!({})).await["errcode"], 41008);
    assert_eq!(phone(&token, json!({"code": "never-issued"})).await["errcode"], 40029);
    assert_eq!(phone(&token, json!({"code": fresh, "openid": "oAnotherPerson"})).await["errcode"], 40003);
    let login = shop.operate("mini_code", json!({})).await;
    assert_eq!(phone(&token, json!({"code": login["code"]})).await["errcode"], 40029, "the login's code is another");
    let get = shop.ask("/wxa/business/getuserphonenumber", &[("access_token", &token)]).await;
    assert_eq!(get["errcode"], 43002);
    shop.operate("kill_tokens", json!({"appid": MINI_APPID})).await;
    assert_eq!(phone(&token, json!({"code": fresh})).await["errcode"], 40001);
    let token = good(&shop.stable_of(MINI_APPID, MINI_SECRET, false).await, "access_token").to_owned();
    assert_eq!(phone(&token, json!({"code": fresh, "openid": OPENID})).await["errcode"], 0);
    let late = code(json!({})).await;
    shop.clock.advance(5 * MINUTE);
    assert_eq!(phone(&token, json!({"code": late})).await["errcode"], 40029);
}
