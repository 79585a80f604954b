//! access_token and jsapi_ticket: who gets which, how long it lives, what a wrong caller hears, what is counted.

use std::time::Duration;

use serde_json::{Value, json};

use crate::sandbox::parts::{
    APPID, MINI_APPID, MINI_SECRET, SECOND_APPID, SECOND_SECRET, SECRET, Shop, good, settings,
};
use wxpay_worker::sandbox::{Options, Sandbox, Settings};

const MINUTE: Duration = Duration::from_secs(60);

fn errcode(answer: &Value) -> i64 {
    answer["errcode"].as_i64().unwrap_or_else(|| panic!("no errcode in {answer}"))
}

async fn works(shop: &Shop, token: &str) -> i64 {
    errcode(&shop.ticket(token).await)
}

#[tokio::test]
async fn each_classic_call_gives_another_token_and_the_one_before_lives_five_minutes_more() {
    let shop = Shop::open().await;
    let first = shop.classic().await;
    assert_eq!(first["expires_in"], 7200);
    assert!(first.get("errcode").is_none(), "a success has no errcode: {first}");
    let first = good(&first, "access_token").to_owned();
    let second = good(&shop.classic().await, "access_token").to_owned();
    assert_ne!(first, second);
    shop.clock.advance(5 * MINUTE - Duration::from_millis(1));
    assert_eq!((works(&shop, &first).await, works(&shop, &second).await), (0, 0));
    shop.clock.advance(Duration::from_millis(1));
    assert_eq!((works(&shop, &first).await, works(&shop, &second).await), (40001, 0), "replaced is not expired");
    shop.clock.advance(115 * MINUTE);
    assert_eq!(works(&shop, &second).await, 42001, "it was not replaced, it reached its end");
}

#[tokio::test]
async fn a_stable_token_stays_the_same_until_its_last_five_minutes_and_overlaps_its_successor() {
    let shop = Shop::open().await;
    let first = good(&shop.stable().await, "access_token").to_owned();
    shop.clock.advance(100 * MINUTE);
    let again = shop.stable().await;
    assert_eq!((again["access_token"].as_str(), again["expires_in"].as_i64()), (Some(&*first), Some(1200)));
    shop.clock.advance(15 * MINUTE - Duration::from_millis(1));
    assert_eq!(good(&shop.stable().await, "access_token"), first);
    shop.clock.advance(Duration::from_millis(1));
    let next = shop.stable().await;
    assert_eq!(next["expires_in"], 7200);
    let next = good(&next, "access_token").to_owned();
    assert_ne!(next, first);
    assert_eq!((works(&shop, &first).await, works(&shop, &next).await), (0, 0), "both in the overlap");
    shop.clock.advance(5 * MINUTE);
    assert_eq!((works(&shop, &first).await, works(&shop, &next).await), (42001, 0));
}

#[tokio::test]
async fn a_forced_refresh_kills_at_once_but_only_every_thirty_seconds_and_twenty_times_a_day() {
    let shop = Shop::open().await;
    let first = good(&shop.stable().await, "access_token").to_owned();
    let mut current = good(&shop.stable_of(APPID, SECRET, true).await, "access_token").to_owned();
    assert_ne!(current, first);
    assert_eq!((works(&shop, &first).await, works(&shop, &current).await), (40001, 0));
    shop.clock.advance(Duration::from_secs(29));
    let same = shop.stable_of(APPID, SECRET, true).await;
    assert_eq!((same["access_token"].as_str(), same["expires_in"].as_i64()), (Some(&*current), Some(7171)));
    for _ in 1..20 {
        shop.clock.advance(Duration::from_secs(30));
        let next = good(&shop.stable_of(APPID, SECRET, true).await, "access_token").to_owned();
        assert_ne!(next, current);
        current = next;
    }
    shop.clock.advance(Duration::from_secs(30));
    assert_eq!(good(&shop.stable_of(APPID, SECRET, true).await, "access_token"), current, "the twenty-first of a day");
    // 03:04 UTC is 11:04 in Beijing: thirteen hours on, another day has begun there.
    shop.clock.advance(13 * 60 * MINUTE);
    good(&shop.stable().await, "access_token");
    let fresh = good(&shop.stable().await, "access_token").to_owned();
    assert_ne!(good(&shop.stable_of(APPID, SECRET, true).await, "access_token"), fresh);
}

#[tokio::test]
async fn classic_and_stable_tokens_and_different_apps_do_not_disturb_each_other() {
    let shop = Shop::open().await;
    let stable = good(&shop.stable().await, "access_token").to_owned();
    let other = good(&shop.stable_of(SECOND_APPID, SECOND_SECRET, false).await, "access_token").to_owned();
    let classic = good(&shop.classic().await, "access_token").to_owned();
    good(&shop.stable_of(APPID, SECRET, true).await, "access_token");
    shop.clock.advance(6 * MINUTE);
    assert_eq!(works(&shop, &classic).await, 0);
    assert_eq!(works(&shop, &other).await, 0);
    assert_eq!(works(&shop, &stable).await, 40001);
}

#[tokio::test]
async fn lifetimes_are_what_the_settings_say_in_seconds() {
    let settings = Settings { token_lifetime_s: 10, token_overlap_s: 4, ..settings(1000) };
    let clock = crate::sandbox::parts::clock();
    let options = Options { clock: clock.clone(), ..Options::default() };
    let shop = Shop::over(
        Sandbox::start_with(crate::sandbox::parts::loopback().await, settings, options).await.unwrap(),
        clock,
    );
    let first = shop.stable().await;
    assert_eq!(first["expires_in"], 10, "never scaled");
    shop.clock.advance(Duration::from_millis(5999));
    assert_eq!(shop.stable().await["access_token"], first["access_token"]);
    shop.clock.advance(Duration::from_millis(1));
    assert_ne!(shop.stable().await["access_token"], first["access_token"]);
    assert_eq!(works(&shop, good(&first, "access_token")).await, 0);
    shop.clock.advance(Duration::from_secs(4));
    assert_eq!(works(&shop, good(&first, "access_token")).await, 42001);
}

#[tokio::test]
async fn a_ticket_outlives_its_token_and_a_repeated_call_is_no_reason_to_keep_it_longer() {
    let shop = Shop::open().await;
    let token = good(&shop.stable().await, "access_token").to_owned();
    let first = shop.ticket(&token).await;
    assert_eq!((errcode(&first), first["errmsg"].as_str(), first["expires_in"].as_i64()), (0, Some("ok"), Some(7200)));
    let ticket = good(&first, "ticket").to_owned();
    shop.operate("kill_tokens", json!({"appid": APPID})).await;
    let alive = shop.operate("check", json!({"value": ticket})).await;
    assert_eq!((alive["alive"].as_bool(), alive["appid"].as_str()), (Some(true), Some(APPID)));
    let token = good(&shop.stable().await, "access_token").to_owned();
    shop.clock.advance(110 * MINUTE);
    let again = shop.ticket(&token).await;
    assert_eq!((good(&again, "ticket"), again["expires_in"].as_i64()), (&*ticket, Some(7200)));
    shop.clock.advance(5 * MINUTE);
    let next = shop.ticket(&token).await;
    assert_ne!(good(&next, "ticket"), ticket);
    assert_eq!(shop.operate("check", json!({"value": ticket})).await["alive"], true);
    shop.clock.advance(5 * MINUTE);
    assert_eq!(shop.operate("check", json!({"value": ticket})).await["alive"], false);
}

#[tokio::test]
async fn every_mistake_of_a_token_call_has_its_errcode() {
    let shop = Shop::open().await;
    let grant = ("grant_type", "client_credential");
    let wrong = "x".repeat(32);
    for (query, code) in [
        (vec![("appid", APPID), ("secret", SECRET)], 40002),
        (vec![("grant_type", "authorization_code"), ("appid", APPID), ("secret", SECRET)], 40002),
        (vec![grant, ("secret", SECRET)], 41002),
        (vec![grant, ("appid", "wx0000000000000000"), ("secret", SECRET)], 40013),
        (vec![grant, ("appid", APPID)], 41004),
        (vec![grant, ("appid", APPID), ("secret", "short")], 40125),
        (vec![grant, ("appid", APPID), ("secret", &wrong)], 40001),
        (vec![grant, ("appid", APPID), ("secret", SECOND_SECRET)], 40001),
    ] {
        let answer = shop.ask("/cgi-bin/token", &query).await;
        assert_eq!(errcode(&answer), code, "{query:?}: {answer}");
        assert!(answer["errmsg"].as_str().unwrap().contains(" rid: "), "{answer}");
        assert!(!answer.to_string().contains(SECRET) && !answer.to_string().contains(&wrong));
    }
    let whole = json!({"grant_type": "client_credential", "appid": APPID, "secret": SECRET});
    for (change, code) in [
        (json!({"grant_type": "x"}), 40002),
        (json!({"grant_type": null}), 40002),
        (json!({"appid": null}), 41002),
        (json!({"appid": "wx0000000000000000"}), 40013),
        (json!({"appid": 1}), 47001),
        (json!({"secret": ""}), 41004),
        (json!({"secret": wrong}), 40125),
        (json!({"force_refresh": "true"}), 47001),
    ] {
        let mut body = whole.clone();
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert_eq!(errcode(&shop.tell("/cgi-bin/stable_token", &[], body).await), code, "{change}");
    }
    for (body, code) in [("", 44002), ("{", 47001), ("[]", 47001), ("grant_type=client_credential", 47001)] {
        let answer = shop.post("/cgi-bin/stable_token", body.into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(errcode(&answer), code, "{body}");
    }
}

#[tokio::test]
async fn get_and_post_are_not_the_same() {
    let shop = Shop::open().await;
    assert_eq!(errcode(&shop.ask("/cgi-bin/stable_token", &[]).await), 43002);
    assert_eq!(errcode(&shop.tell("/cgi-bin/token", &[], json!({})).await), 43001);
    assert_eq!(errcode(&shop.tell("/cgi-bin/ticket/getticket", &[], json!({})).await), 43001);
    assert_eq!(errcode(&shop.ask("/cgi-bin/clear_quota", &[]).await), 43002);
}

#[tokio::test]
async fn a_ticket_wants_a_live_token_of_an_official_account() {
    let shop = Shop::open().await;
    let get = |query: Vec<(&'static str, String)>| {
        let shop = &shop;
        async move {
            let query: Vec<_> = query.iter().map(|(n, v)| (*n, v.as_str())).collect();
            errcode(&shop.ask("/cgi-bin/ticket/getticket", &query).await)
        }
    };
    let token = good(&shop.stable().await, "access_token").to_owned();
    let mini = good(&shop.stable_of(MINI_APPID, MINI_SECRET, false).await, "access_token").to_owned();
    assert_eq!(get(vec![("type", "jsapi".into())]).await, 41001);
    assert_eq!(get(vec![("access_token", "no token".into()), ("type", "jsapi".into())]).await, 40014);
    let stranger = format!("92_{}", "a".repeat(133));
    assert_eq!(get(vec![("access_token", stranger), ("type", "jsapi".into())]).await, 40001);
    assert_eq!(get(vec![("access_token", mini), ("type", "jsapi".into())]).await, 48001);
    assert_eq!(get(vec![("access_token", token.clone()), ("type", "wx_card".into())]).await, 40097);
    assert_eq!(get(vec![("access_token", token.clone())]).await, 40097);
    assert_eq!(get(vec![("access_token", token), ("type", "jsapi".into())]).await, 0);
}

#[tokio::test]
async fn two_thousand_classic_tokens_are_a_day_and_the_next_begins_in_beijing() {
    let shop = Shop::open().await;
    for n in 0..2000 {
        assert!(shop.classic().await.get("errcode").is_none(), "call {n}");
    }
    assert_eq!(errcode(&shop.classic().await), 45009);
    assert!(shop.stable().await.get("errcode").is_none(), "the other API has a quota of its own");
    // It is 11:04:05 in Beijing.
    shop.clock.advance(Duration::from_secs(12 * 3600 + 55 * 60 + 54));
    assert_eq!(errcode(&shop.classic().await), 45009);
    shop.clock.advance(Duration::from_secs(1));
    assert!(shop.classic().await.get("errcode").is_none());
}

#[tokio::test]
async fn limits_by_the_minute_and_the_day_can_be_narrowed_and_reset_ten_times_a_month() {
    let shop = Shop::open().await;
    shop.operate("quota", json!({"api": "stable_token", "per_minute": 2})).await;
    let token = good(&shop.stable().await, "access_token").to_owned();
    shop.stable().await;
    assert_eq!(errcode(&shop.stable().await), 45011);
    shop.clock.advance(MINUTE);
    assert!(shop.stable().await.get("errcode").is_none());

    shop.operate("quota", json!({"api": "token", "per_day": 1})).await;
    let reset = async |appid: &str| {
        shop.tell("/cgi-bin/clear_quota", &[("access_token", &token)], json!({"appid": appid})).await
    };
    for n in 0..10 {
        assert!(shop.classic().await.get("errcode").is_none(), "round {n}");
        assert_eq!(errcode(&shop.classic().await), 45009);
        assert_eq!(errcode(&reset(APPID).await), 0);
    }
    assert_eq!(errcode(&reset(APPID).await), 48006);
    assert_eq!(errcode(&reset(SECOND_APPID).await), 40013, "a token speaks for its own app");
}

#[tokio::test]
async fn a_caller_outside_the_whitelist_hears_the_address_that_was_seen() {
    let shop = Shop::open().await;
    shop.operate("whitelist", json!({"appid": APPID, "ips": ["10.1.2.3"]})).await;
    for answer in [shop.classic().await, shop.stable().await] {
        assert_eq!(errcode(&answer), 40164);
        let words = answer["errmsg"].as_str().unwrap();
        assert!(words.starts_with("invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist"), "{words}");
    }
    assert!(shop.stable_of(SECOND_APPID, SECOND_SECRET, false).await.get("errcode").is_none());
    shop.operate("whitelist", json!({"appid": APPID, "ips": ["127.0.0.1"]})).await;
    assert!(shop.stable().await.get("errcode").is_none());
}

#[tokio::test]
async fn killed_tokens_die_at_once_and_only_a_stubborn_wechat_hands_them_out_again() {
    let shop = Shop::open().await;
    let first = good(&shop.stable().await, "access_token").to_owned();
    let killed = shop.operate("kill_tokens", json!({"appid": APPID})).await;
    assert_eq!(killed["killed"], 1);
    assert_eq!(works(&shop, &first).await, 40001);
    let second = good(&shop.stable().await, "access_token").to_owned();
    assert_ne!(second, first);
    assert_eq!(works(&shop, &second).await, 0);
    shop.operate("kill_tokens", json!({"appid": APPID, "still_current": true})).await;
    assert_eq!(good(&shop.stable().await, "access_token"), second);
    assert_eq!(works(&shop, &second).await, 40001);
    let (status, _) = shop.control("platform/kill_tokens", json!({"appid": "wx0"})).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn calls_their_ends_and_uses_of_dead_tokens_are_counted_by_app() {
    let shop = Shop::open().await;
    let token = good(&shop.stable().await, "access_token").to_owned();
    shop.stable().await;
    shop.stable_of(APPID, "x", false).await;
    shop.stable_of("wx0", "x", false).await;
    shop.ticket(&token).await;
    shop.operate("kill_tokens", json!({"appid": APPID})).await;
    shop.ticket(&token).await;
    shop.ticket(&token).await;
    shop.ticket("nonsense").await;
    let counts = shop.get("platform/calls").await;
    let calls = json!([
        {"api": "stable_token", "appid": "", "count": 1, "answers": {"40013": 1}},
        {"api": "stable_token", "appid": APPID, "count": 3, "answers": {"0": 2, "40125": 1}},
        {"api": "getticket", "appid": "", "count": 1, "answers": {"40014": 1}},
        {"api": "getticket", "appid": APPID, "count": 3, "answers": {"0": 1, "40001": 2}},
    ]);
    let dead = json!([
        {"appid": "", "why": "malformed", "count": 1},
        {"appid": APPID, "why": "replaced", "count": 2},
    ]);
    assert_eq!((&counts["calls"], &counts["dead_token_uses"]), (&calls, &dead));
}

#[tokio::test]
async fn faults_hit_the_platforms_calls_by_name_and_by_app() {
    let shop = Shop::open().await;
    shop.faults(json!([
        {"on": "stable_token", "kind": "errcode", "errcode": 40164, "appid": APPID, "times": 1},
        {"on": "stable_token", "kind": "errcode", "errcode": 89503, "appid": APPID, "times": 1},
        {"on": "stable_token", "kind": "system_error", "executed": false, "times": 1},
        {"on": "stable_token", "kind": "rate_limit", "times": 1},
        {"on": "stable_token", "kind": "answer_lost", "times": 1},
        {"on": "stable_token", "kind": "half_body", "times": 1},
    ]))
    .await;
    let other = shop.stable_of(SECOND_APPID, SECOND_SECRET, false).await;
    assert_eq!(errcode(&other), -1, "the first two are for the other app");
    assert_eq!(errcode(&shop.stable().await), 40164);
    assert_eq!(errcode(&shop.stable().await), 89503);
    assert_eq!(errcode(&shop.stable().await), 45011);
    let body = json!({"grant_type": "client_credential", "appid": APPID, "secret": SECRET}).to_string();
    assert!(shop.post("/cgi-bin/stable_token", body.clone().into()).await.is_err(), "the connection ends");
    let half = shop.post("/cgi-bin/stable_token", body.into()).await.unwrap();
    assert!(half.bytes().await.is_err());
    assert!(shop.stable().await.get("errcode").is_none(), "the rules are used up");
    for impossible in [
        json!([{"on": "token", "kind": "wrong_sign"}]),
        json!([{"on": "token", "kind": "errcode"}]),
        json!([{"on": "token", "kind": "errcode", "errcode": 0}]),
        json!([{"on": "token", "kind": "drop", "mch_id": "10000100"}]),
        json!([{"on": "unifiedorder", "kind": "errcode", "errcode": 1}]),
        json!([{"on": "unifiedorder", "kind": "drop", "appid": APPID}]),
    ] {
        assert_eq!(shop.control("faults", impossible.clone()).await.0, 400, "{impossible}");
    }
}

#[tokio::test]
async fn the_answers_call_themselves_what_wechats_do() {
    let shop = Shop::open().await;
    let answer = shop.http.get(format!("{}/cgi-bin/token", shop.base)).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json; encoding=utf-8");
}
