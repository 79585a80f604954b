//! When a token is fetched, as a matter of arithmetic.

use std::time::Duration;

use proptest::prelude::*;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::TokenApi;
use wxpay_worker::ids::AppKey;
use wxpay_worker::scheduler::token_refresh_policy::{after_failure, due_at, life};
use wxpay_worker::secret::{Secret, sha256_hex};
use wxpay_worker::store::{StoredToken, TokenKind, TokenReport, TokenState};
use wxpay_worker::wechat::platform::{Class, Credential, PlatformError, Refusal};
use wxpay_worker::wechat::transport::TransportError;

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_ms(NOW.as_ms() + seconds * 1000)
}

fn stored(fetched_s: i64, expires_s: i64) -> StoredToken {
    StoredToken {
        value: Secret::new("t"),
        hash: sha256_hex(b"t"),
        fetched_at: at(fetched_s),
        expires_at: at(expires_s),
        refresh_at: at(expires_s - 240),
    }
}

fn state(report: Option<TokenReport>, report_refreshes: u32) -> TokenState {
    TokenState {
        app: AppKey::parse("shop").unwrap(),
        kind: TokenKind::AccessToken,
        token: Some(stored(0, 7200)),
        value_hash: None,
        doubted_at: None,
        report,
        report_refreshes,
        failures: 0,
        next_try_at: Timestamp::from_ms(0),
        degraded: None,
    }
}

fn refused(errcode: i64, credential: Credential) -> PlatformError {
    PlatformError::Refused(Refusal { errcode, rid: None, class: Class::of(errcode, credential) })
}

fn lost() -> PlatformError {
    PlatformError::Transport(TransportError::NoAnswer { why: "timed out".into() })
}

proptest! {
    #[test]
    fn a_refresh_is_due_in_the_last_fifth_and_before_the_end(
        life_s in 1_u32..100_000, hash in "[0-9a-f]{64}", stable: bool, ticket: bool,
    ) {
        let api = if stable { TokenApi::Stable } else { TokenApi::Classic };
        let kind = if ticket { TokenKind::JsapiTicket } else { TokenKind::AccessToken };
        let (expires_at, refresh_at) = life(kind, api, NOW, life_s, None, &hash);
        prop_assert_eq!(expires_at, NOW.after(Duration::from_secs(life_s.into())));
        prop_assert!(refresh_at <= expires_at);
        let lead_ms = expires_at.as_ms() - refresh_at.as_ms();
        let fifth_ms = i64::from(life_s) * 200;
        prop_assert!(lead_ms * 4 >= fifth_ms.min(240_000) * 3, "spread out over a quarter at most");
        prop_assert!(lead_ms <= fifth_ms);
        if stable && !ticket {
            prop_assert!(lead_ms <= 240_000, "earlier, stable_token repeats the old token");
        }
    }
}

#[test]
fn different_values_are_refreshed_at_different_times() {
    let times: std::collections::BTreeSet<Timestamp> = (0..50)
        .map(|n: u32| {
            let hash = sha256_hex(&n.to_be_bytes());
            life(TokenKind::AccessToken, TokenApi::Stable, NOW, 7200, None, &hash).1
        })
        .collect();
    assert!(times.len() > 40, "{} times", times.len());
}

#[test]
fn a_repeated_value_does_not_live_longer_for_being_repeated() {
    let old = stored(0, 7200);
    let hash = old.hash.clone();
    let of = |fetched_s, expires_in_s| {
        life(TokenKind::JsapiTicket, TokenApi::Stable, at(fetched_s), expires_in_s, Some(&old), &hash)
    };
    let (expires_at, refresh_at) = of(5760, 7200);
    assert_eq!(expires_at, at(7200), "WeChat said 7200 s again");
    assert!(refresh_at > at(5760) && refresh_at <= at(7200));
    assert_eq!(of(5760, 600).0, at(6360), "a shorter life is believed");
    assert_eq!(of(7200, 7200).0, at(14_400), "past its end and still given out: our end was wrong");
}

#[test]
fn a_first_report_is_answered_at_once_and_each_later_one_after_a_longer_delay() {
    let reported = |refreshes| due_at(&state(Some(TokenReport::Reported(at(100))), refreshes), at(6000));
    assert_eq!(reported(0), at(100));
    assert_eq!(reported(1), at(100), "the value is older than a minute");
    let soon = |refreshes| due_at(&state(Some(TokenReport::Reported(at(1))), refreshes), at(6000));
    let due: Vec<i64> = [0, 1, 2, 3, 4, 5, 9, 4_000_000_000].map(|n| soon(n).as_seconds() - NOW.as_seconds()).to_vec();
    assert_eq!(due, [1, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!(due_at(&state(Some(TokenReport::Answered), 0), NOW), at(6960));
    assert_eq!(due_at(&state(None, 0), NOW), at(6960));
    let waiting = TokenState { next_try_at: at(9000), ..state(Some(TokenReport::Reported(at(1))), 0) };
    assert_eq!(due_at(&waiting, at(8940)), at(9000), "a failure's pause comes first");
    assert_eq!(due_at(&waiting, at(10)), at(10), "no failure pauses for two hours: a clock was ahead");
    assert_eq!(due_at(&TokenState { token: None, ..state(None, 0) }, NOW), Timestamp::from_ms(0));
    let ahead = TokenState { token: Some(stored(86_400, 93_600)), ..state(None, 0) };
    assert_eq!(due_at(&ahead, NOW), Timestamp::from_ms(0), "its times mean nothing");
}

#[test]
fn what_passes_by_itself_is_tried_again_with_growing_pauses() {
    let seed = "00000000";
    for error in [lost(), PlatformError::Unreadable("not JSON"), refused(-1, Credential::Secret)] {
        let pauses: Vec<i64> = (1..=9)
            .map(|n| after_failure(&error, n, true, NOW, seed).next_try_at.as_seconds() - NOW.as_seconds())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60], "{error}");
        assert_eq!(after_failure(&error, 9, true, NOW, seed).degraded, None, "there is a value to go on with");
        assert_eq!(after_failure(&error, 4, false, NOW, seed).degraded, None);
        let degraded = after_failure(&error, 5, false, NOW, seed).degraded.unwrap();
        assert_eq!(degraded.0, "unreachable");
    }
    let jittered = after_failure(&lost(), 9, true, NOW, "ffffffff").next_try_at;
    assert!(jittered > at(60) && jittered <= at(75), "{jittered}");
}

#[test]
fn what_a_person_must_change_is_asked_once_a_minute_and_announced_at_once() {
    for errcode in [40013, 40125, 40164, 40243, 48001, 50004, 61024, 89503, 40001, 40002, 43002, 99999] {
        let failure = after_failure(&refused(errcode, Credential::Secret), 1, true, NOW, "ffffffff");
        assert!(failure.next_try_at >= at(60) && failure.next_try_at <= at(65), "{errcode}");
        assert_eq!(failure.degraded, Some(("refused", Some(errcode))));
    }
    let often = after_failure(&refused(45011, Credential::Secret), 1, true, NOW, "00000000");
    assert_eq!((often.next_try_at, often.degraded), (at(60), None));
    let dead = |failures| after_failure(&refused(40001, Credential::GlobalToken), failures, true, NOW, "00000000");
    assert_eq!((dead(1).next_try_at, dead(1).degraded), (at(1), None), "the access_token has a successor soon");
    assert_eq!(dead(3).degraded, Some(("refused", Some(40001))));
}

#[test]
fn a_used_up_quota_is_left_alone_until_midnight_in_beijing() {
    let midnight = NOW.next_beijing_midnight();
    let failure = after_failure(&refused(45009, Credential::Secret), 1, true, NOW, "ffffffff");
    assert!(failure.next_try_at >= midnight && failure.next_try_at <= midnight.after(Duration::from_secs(60)));
    assert_eq!(failure.degraded, Some(("quota_used_up", Some(45009))));
}
