//! The platform's tokens against the simulator, on one manual clock: days pass in an instant.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::{Config, TokenApi};
use wxpay_worker::sandbox::Settings;
use wxpay_worker::scheduler::{Done, JobError, Tokens};
use wxpay_worker::store::{TokenKind, TokenReport};
use wxpay_worker::wechat::platform::PlatformClient;

use super::stage::{LEASE, MINI, SHOP, Stage, refresher};
use crate::harness::within_timeout;

const ACCESS: TokenKind = TokenKind::AccessToken;
const TICKET: TokenKind = TokenKind::JsapiTicket;
const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// Runs every half minute for a day; at every step every token that would be handed out works. Answers how many
/// different values the shop's access_token and ticket had.
async fn a_day(stage: &Stage) -> (u64, u64) {
    let (mut tokens, mut tickets) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..2880 {
        stage.clock.advance(Duration::from_secs(30));
        stage.run().await.unwrap();
        for (app, kind, seen) in
            [("shop", ACCESS, Some(&mut tokens)), ("shop", TICKET, Some(&mut tickets)), ("mini", ACCESS, None)]
        {
            let token = stage.token(app, kind).await.unwrap_or_else(|| panic!("{app} without {kind:?}"));
            let new = seen.is_none_or(|seen| seen.insert(token.hash.clone()));
            // A value is checked when it comes, and when it is about to go.
            if new || stage.clock.now() >= Timestamp::from_ms(token.refresh_at.as_ms() - 30_000) {
                assert!(stage.is_alive(&token).await, "{app} {kind:?} at {}", stage.clock.now());
            }
        }
    }
    (tokens.len() as u64, tickets.len() as u64)
}

#[tokio::test]
async fn over_a_day_stable_tokens_are_fetched_once_a_life_and_never_handed_out_dead() {
    let stage = Stage::open().await;
    let (tokens, tickets) = a_day(&stage).await;
    // 24 h in lives of 116 to 117 minutes.
    assert_eq!((tokens, stage.calls("stable_token", SHOP).await), (13, 13));
    assert_eq!(stage.calls("stable_token", MINI).await, 13);
    // A ticket that is repeated says its whole life again, and is asked for once more before its end.
    assert_eq!(tickets, 13);
    let calls = stage.calls("getticket", SHOP).await;
    assert!((tickets..=2 * tickets).contains(&calls), "{calls} calls for {tickets} tickets");
    assert_eq!((stage.calls("getticket", MINI).await, stage.calls("token", SHOP).await), (0, 0));
    assert_eq!(stage.announced("app.degraded").await, 0);
    stage.finish().await;
}

#[tokio::test]
async fn over_a_day_classic_tokens_are_fetched_at_four_fifths_of_their_life() {
    let stage = Stage::with("classic", Settings::default()).await;
    let (tokens, _) = a_day(&stage).await;
    assert_eq!(stage.calls("token", SHOP).await, tokens);
    assert!((14..=16).contains(&tokens), "{tokens}");
    assert_eq!((stage.calls("stable_token", SHOP).await, stage.calls("token", MINI).await), (0, 0));
    stage.finish().await;
}

#[tokio::test]
async fn a_refused_address_degrades_the_app_once_and_is_asked_once_a_minute_until_it_is_allowed() {
    let stage = Stage::open().await;
    let elsewhere = |ips: Value| json!({"appid": SHOP, "ips": ips});
    stage.wechat_control("platform/whitelist", elsewhere(json!(["203.0.113.9"]))).await;
    let run = stage.run().await.unwrap();
    assert_eq!(run, Done { count: 2, detail: Some("shop access_token: refused; mini access_token: renewed".into()) });
    stage.run_for(10 * MINUTE).await;
    let calls = stage.calls("stable_token", SHOP).await;
    assert!((9..=11).contains(&calls), "{calls} calls in ten minutes");
    assert_eq!(stage.calls("getticket", SHOP).await, 0);
    let degraded = stage.state("shop", ACCESS).await.degraded.unwrap();
    assert_eq!((degraded.reason.as_str(), degraded.errcode), ("refused", Some(40164)));
    assert_eq!((stage.announced("app.degraded").await, stage.count("outbox").await), (2, 2), "each merchant once");
    assert!(stage.token("mini", ACCESS).await.is_some(), "the other app has its token");

    stage.wechat_control("platform/whitelist", elsewhere(Value::Null)).await;
    stage.run_for(70).await;
    assert!(stage.token("shop", TICKET).await.is_some());
    assert_eq!(stage.state("shop", ACCESS).await.degraded, None);
    assert_eq!((stage.announced("app.recovered").await, stage.count("outbox").await), (2, 4));
    stage.finish().await;
}

#[tokio::test]
async fn a_used_up_quota_is_left_alone_until_midnight_in_beijing() {
    let stage = Stage::with("classic", Settings::default()).await;
    stage.run().await.unwrap();
    stage.wechat_control("platform/quota", json!({"api": "token", "per_day": 1, "per_minute": null})).await;
    let first = stage.token("shop", ACCESS).await.unwrap();
    let midnight = stage.clock.now().next_beijing_midnight();
    while stage.clock.now() < Timestamp::from_ms(midnight.as_ms() - 60_000) {
        stage.clock.advance(Duration::from_secs(60));
        stage.run().await.unwrap();
        let left = stage.token("shop", ACCESS).await;
        assert_eq!(left.is_some(), stage.clock.now() < first.expires_at, "the old value stays as long as it lives");
    }
    assert_eq!(stage.calls("token", SHOP).await, 2, "one that was given, one that was refused");
    assert_eq!(stage.state("shop", ACCESS).await.degraded.unwrap().errcode, Some(45009));
    stage.run_for(180).await;
    assert!(stage.token("shop", ACCESS).await.is_some());
    assert_eq!((stage.announced("app.degraded").await, stage.announced("app.recovered").await), (2, 2));
    stage.finish().await;
}

#[tokio::test]
async fn a_killed_token_is_replaced_once_however_many_report_it() {
    let stage = Stage::open().await;
    stage.run().await.unwrap();
    let dead = stage.token("shop", ACCESS).await.unwrap();
    stage.wechat_control("platform/kill_tokens", json!({"appid": SHOP})).await;
    let mut news = 0;
    for _ in 0..1000 {
        news += u32::from(stage.report("shop", &dead).await);
    }
    assert_eq!(news, 1);
    assert!(stage.token("shop", ACCESS).await.is_none(), "a refused token is not handed out");
    stage.run_for(5 * MINUTE).await;
    assert_eq!(stage.calls("stable_token", SHOP).await, 2);
    let fresh = stage.token("shop", ACCESS).await.unwrap();
    assert!(fresh.hash != dead.hash && stage.is_alive(&fresh).await);
    assert!(!stage.report("shop", &dead).await, "an old report changes nothing");
    assert_eq!((stage.calls("stable_token", MINI).await, stage.announced("app.degraded").await), (1, 0));
    stage.finish().await;
}

#[tokio::test]
async fn a_token_that_wechat_refuses_and_repeats_is_asked_for_once_and_announced() {
    let stage = Stage::open().await;
    stage.run().await.unwrap();
    let refused = stage.token("shop", ACCESS).await.unwrap();
    stage.wechat_control("platform/kill_tokens", json!({"appid": SHOP, "still_current": true})).await;
    assert!(stage.report("shop", &refused).await);
    for _ in 0..30 {
        stage.run_every(10, 60).await;
        assert!(!stage.report("shop", &refused).await);
    }
    assert_eq!(stage.calls("stable_token", SHOP).await, 2, "asked again, got the same, left it at that");
    let state = stage.state("shop", ACCESS).await;
    assert_eq!(state.report, Some(TokenReport::Answered));
    assert_eq!(state.degraded.unwrap().reason, "refused_though_current");
    assert_eq!(stage.announced("app.degraded").await, 2);
    stage.run_every(10, 90 * MINUTE).await;
    assert_ne!(stage.token("shop", ACCESS).await.unwrap().hash, refused.hash);
    // The ticket could not be fetched with the refused token; with the next one both are well again.
    assert!(stage.token("shop", TICKET).await.is_some());
    for token in ["access_token", "jsapi_ticket"] {
        for end in ["degraded", "recovered"] {
            let announced =
                format!("outbox WHERE event_type = 'wxpay.app.{end}.v1' AND payload LIKE '%\"token\":\"{token}\"%'");
            assert_eq!(stage.count(&announced).await, 2, "{token} {end}: each merchant once");
        }
    }
    stage.finish().await;
}

#[tokio::test]
async fn two_programs_that_kill_each_others_tokens_do_not_use_up_the_quota() {
    let stage = Stage::with("classic", Settings::default()).await;
    stage.run().await.unwrap();
    for _ in 0..2 * HOUR / 10 {
        stage.wechat_control("platform/kill_tokens", json!({"appid": SHOP})).await;
        if let Some(token) = stage.token("shop", ACCESS).await {
            stage.report("shop", &token).await;
        }
        stage.clock.advance(Duration::from_secs(10));
        stage.run().await.unwrap();
    }
    let calls = stage.calls("token", SHOP).await;
    assert!((10..=15).contains(&calls), "{calls} in two hours: 2000 a day are allowed");
    assert_eq!(stage.state("shop", ACCESS).await.degraded.unwrap().reason, "dies_early");
    assert_eq!(stage.announced("app.degraded").await, 2);
    stage.finish().await;
}

#[tokio::test]
async fn a_ticket_call_that_finds_the_token_dead_has_it_replaced_and_then_gets_its_ticket() {
    let stage = Stage::open().await;
    stage.faults(json!([{"on": "getticket", "kind": "errcode", "errcode": 40001, "times": 1}])).await;
    let run = stage.run().await.unwrap().detail.unwrap();
    assert!(run.contains("shop jsapi_ticket: token_dead"), "{run}");
    assert!(stage.token("shop", ACCESS).await.is_none());
    stage.wechat_control("platform/kill_tokens", json!({"appid": SHOP})).await;
    stage.run_for(3).await;
    assert!(stage.token("shop", TICKET).await.is_some());
    assert_eq!((stage.calls("stable_token", SHOP).await, stage.calls("getticket", SHOP).await), (2, 2));
    assert_eq!(stage.announced("app.degraded").await, 0);
    stage.finish().await;
}

#[tokio::test]
async fn a_busy_wechat_is_asked_less_and_less_and_a_ticket_failure_blocks_no_token() {
    let stage = Stage::open().await;
    stage.faults(json!([{"on": "getticket", "kind": "system_error", "executed": false}])).await;
    stage.run().await.unwrap();
    stage.run_for(10 * MINUTE).await;
    let calls = stage.calls("getticket", SHOP).await;
    assert!((10..=17).contains(&calls), "{calls} in ten minutes");
    assert_eq!(stage.state("shop", TICKET).await.degraded.unwrap().reason, "unreachable");
    assert!(stage.token("shop", ACCESS).await.is_some());
    let token = stage.token("shop", ACCESS).await.unwrap();
    stage.run_every(10, 2 * HOUR).await;
    assert_ne!(stage.token("shop", ACCESS).await.unwrap().hash, token.hash, "refreshed all the same");
    stage.finish().await;
}

/// One that waits for WeChat for as long as a run allows: what happens meanwhile takes its time on a busy machine.
fn slow_refresher(stage: &Stage) -> Arc<Tokens> {
    let mut config = stage.config.clone();
    config.wechat.timeout = Duration::from_secs(60);
    refresher(&config)
}

#[tokio::test]
async fn an_app_whose_call_hangs_delays_no_other() {
    let stage = Arc::new(Stage::open().await);
    stage.faults(json!([{"on": "stable_token", "kind": "hang", "appid": SHOP, "times": 1}])).await;
    let tokens = slow_refresher(&stage);
    let running = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move { tokens.refresh_due(&stage.store, &stage.clock, &stage.lease).await }
    });
    let mini_has_its_token = async {
        while stage.token("mini", ACCESS).await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    within_timeout("the other app's token", mini_has_its_token).await;
    assert!(!running.is_finished(), "the hanging call has ended already");
    let run = within_timeout("the end of the run", running).await.unwrap().unwrap();
    assert_eq!(run.detail.unwrap(), "shop access_token: no_answer; mini access_token: renewed");
    stage.run_for(3).await;
    assert!(stage.token("shop", ACCESS).await.is_some());
    Arc::into_inner(stage).expect("the run has ended").finish().await;
}

#[tokio::test]
async fn a_fetch_that_ends_after_another_process_took_over_is_thrown_away() {
    let slow = Stage::with("classic", Settings::default()).await;
    // The paused leader's call is on its way until the successor's went through.
    slow.faults(json!([{"on": "token", "kind": "reorder", "delay_ms": 30_000, "times": 1}])).await;
    let successor = async {
        while slow.calls("token", SHOP).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slow.store.release(&slow.lease).await.unwrap();
        let lease = slow.store.lease("platform_tokens", "successor", LEASE).await.unwrap().unwrap();
        assert_eq!(lease.term, slow.lease.term + 1);
        refresher(&slow.config).refresh_due(&slow.store, &slow.clock, &lease).await.unwrap();
        slow.token("shop", ACCESS).await.unwrap()
    };
    let overtaken = slow_refresher(&slow);
    let run = overtaken.refresh_due(&slow.store, &slow.clock, &slow.lease);
    let (paused, stored) = within_timeout("both", async { tokio::join!(run, successor) }).await;
    assert!(matches!(paused, Err(JobError::Overtaken)), "{paused:?}");
    assert_eq!(slow.calls("token", SHOP).await, 2);
    assert_eq!(slow.token("shop", ACCESS).await.unwrap().hash, stored.hash, "the successor's value stands");

    // The value that was thrown away is the newest at WeChat: the successor's has five minutes left there.
    let lease = slow.store.lease("platform_tokens", "successor", LEASE).await.unwrap().unwrap();
    let minutes_later = async |minutes: u64| {
        for _ in 0..minutes * MINUTE / 5 {
            slow.clock.advance(Duration::from_secs(5));
            refresher(&slow.config).refresh_due(&slow.store, &slow.clock, &lease).await.unwrap();
        }
        slow.token("shop", ACCESS).await.unwrap()
    };
    let in_use = minutes_later(6).await;
    assert!(!slow.is_alive(&stored).await, "the situation is not the one that this is about");
    assert!(slow.is_alive(&in_use).await, "a dead token is in use");
    minutes_later(6).await;
    assert_eq!(slow.calls("token", SHOP).await, 3, "one fetch more, and no storm");
    slow.finish().await;
}

#[tokio::test]
async fn a_stable_token_that_was_overtaken_does_no_harm_and_is_not_fetched_again() {
    let slow = Stage::open().await;
    slow.faults(json!([{"on": "stable_token", "kind": "slow", "appid": SHOP, "delay_ms": 12_000, "times": 1}])).await;
    let overtaken = slow_refresher(&slow);
    let successor = async {
        while slow.calls("stable_token", SHOP).await == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slow.store.release(&slow.lease).await.unwrap();
        let lease = slow.store.lease("platform_tokens", "successor", LEASE).await.unwrap().unwrap();
        refresher(&slow.config).refresh_due(&slow.store, &slow.clock, &lease).await.unwrap();
        lease
    };
    let run = overtaken.refresh_due(&slow.store, &slow.clock, &slow.lease);
    let (paused, lease) = within_timeout("both", async { tokio::join!(run, successor) }).await;
    assert!(matches!(paused, Err(JobError::Overtaken)), "{paused:?}");
    slow.clock.advance(Duration::from_secs(5));
    refresher(&slow.config).refresh_due(&slow.store, &slow.clock, &lease).await.unwrap();
    assert_eq!(slow.calls("stable_token", SHOP).await, 2);
    assert!(slow.is_alive(&slow.token("shop", ACCESS).await.unwrap()).await);
    slow.finish().await;
}

#[tokio::test]
async fn an_operator_who_changes_to_stable_tokens_need_not_wait_for_midnight() {
    let stage = Stage::with("classic", Settings::default()).await;
    stage.wechat_control("platform/quota", json!({"api": "token", "per_day": 0, "per_minute": null})).await;
    stage.run().await.unwrap();
    stage.run_for(MINUTE).await;
    assert_eq!(stage.state("shop", ACCESS).await.degraded.unwrap().errcode, Some(45009));
    assert!(stage.token("shop", ACCESS).await.is_none());
    let mut config = stage.config.clone();
    config.apps[0].token = TokenApi::Stable;
    let restarted = refresher(&config);
    restarted.refresh_due(&stage.store, &stage.clock, &stage.lease).await.unwrap();
    let token = stage
        .store
        .token(&stage.seal(), config.app("shop").unwrap(), ACCESS, stage.clock.now())
        .await
        .unwrap()
        .unwrap();
    assert!(stage.is_alive(&token).await);
    assert_eq!((stage.calls("token", SHOP).await, stage.calls("stable_token", SHOP).await), (1, 1));
    assert_eq!((stage.announced("app.degraded").await, stage.announced("app.recovered").await), (2, 2));
    stage.finish().await;
}

#[tokio::test]
async fn a_token_fetched_by_a_clock_a_day_ahead_is_fetched_again_and_lives_no_longer_for_it() {
    let stage = Stage::open().await;
    let ahead = Clock::manual(stage.clock.now().after(Duration::from_secs(24 * HOUR)));
    stage.tokens.refresh_due(&stage.store, &ahead, &stage.lease).await.unwrap();
    assert!(stage.token("shop", ACCESS).await.is_none() && stage.token("shop", TICKET).await.is_none());
    stage.run().await.unwrap();
    let first = stage.token("shop", ACCESS).await.unwrap();
    assert!(first.expires_at <= stage.clock.now().after(Duration::from_secs(2 * HOUR)), "{}", first.expires_at);
    for _ in 0..3 * HOUR / 30 {
        stage.clock.advance(Duration::from_secs(30));
        stage.run().await.unwrap();
        assert!(stage.is_alive(&stage.token("shop", ACCESS).await.unwrap()).await, "at {}", stage.clock.now());
    }
    assert_eq!(stage.calls("stable_token", SHOP).await, 3);
    stage.finish().await;
}

#[tokio::test]
async fn a_call_that_hangs_is_counted_as_a_failure_before_the_run_is_late() {
    let stage = Stage::open().await;
    let mut config = stage.config.clone();
    // More than a run may take.
    config.wechat.timeout = Duration::from_secs(60);
    stage.faults(json!([{"on": "stable_token", "kind": "hang", "appid": SHOP, "times": 1}])).await;
    let started = Instant::now();
    let run = refresher(&config).refresh_due(&stage.store, &stage.clock, &stage.lease).await.unwrap();
    assert_eq!(run.detail.unwrap(), "shop access_token: no_answer; mini access_token: renewed");
    assert!(started.elapsed() < Duration::from_secs(58), "{:?}", started.elapsed());
    assert_eq!(stage.state("shop", ACCESS).await.failures, 1);
    stage.finish().await;
}

#[tokio::test]
async fn after_a_change_of_the_session_key_tokens_are_fetched_anew() {
    let stage = Stage::open().await;
    stage.run().await.unwrap();
    let mut config: Config = stage.config.clone();
    config.web.session_key = Some(wxpay_worker::secret::Secret::new("z9y8x7w6v5u4t3s2r1q0p9o8n7m6l5k4"));
    let renewed = refresher(&config).refresh_due(&stage.store, &stage.clock, &stage.lease).await.unwrap();
    assert_eq!(renewed.count, 3, "{renewed:?}");
    assert!(stage.token("shop", ACCESS).await.is_none(), "sealed with the new key now");
    stage.finish().await;
}

#[tokio::test]
async fn without_a_session_key_nothing_is_fetched() {
    let stage = Stage::open().await;
    let mut config = stage.config.clone();
    config.web.session_key = None;
    assert!(Tokens::new(&config, PlatformClient::new(&config.wechat).unwrap()).unwrap().is_none());
    stage.finish().await;
}
