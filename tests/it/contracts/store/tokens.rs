//! What is known of a token when its app was changed, a clock was wrong, or a fetch was overtaken.

use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::{App, TokenApi};
use wxpay_worker::ids::AppId;
use wxpay_worker::scheduler::token_commit::commit;
use wxpay_worker::scheduler::token_refresh_policy as policy;
use wxpay_worker::scheduler::token_refresh_policy::{IssuedToken, TokenFailure, due_at};
use wxpay_worker::secret::{Secret, sha256_hex};
use wxpay_worker::store::{Fenced, Lease, TokenChange, TokenKind, TokenReport, TokenState};

use super::web::{NOW, app, issued, merchants, seal_key, seconds, write};
use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

const KIND: TokenKind = TokenKind::AccessToken;

/// What a process with this configuration of the app sees.
async fn seen(stage: &TestStore, app: &App) -> TokenState {
    stage.store.token_states(&stage.seal(), app).await.unwrap().pop().unwrap()
}

async fn fail(stage: &TestStore, lease: &Lease, app: &App, next_try_at: Timestamp, reason: &'static str) {
    let failure = TokenFailure { next_try_at, degraded: Some((reason, Some(45009))) };
    let merchants = merchants();
    let noted = stage.failed(write(lease, app, &merchants), failure).await;
    assert_eq!(noted, Fenced::Done(false));
}

on_both_databases! {
    async fn a_pause_does_not_outlive_the_number_secret_or_api_it_was_earned_with(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        stage.put(&lease, &issued("token-1")).await;
        let midnight = NOW.next_beijing_midnight();
        for _ in 0..3 {
            fail(&stage, &lease, &app(), midnight, "quota_used_up").await;
        }
        let state = seen(&stage, &app()).await;
        assert_eq!((state.failures, due_at(&state, NOW)), (3, midnight));
        let changed = [
            App { app_id: AppId::parse("wx8888888888888888").unwrap(), ..app() },
            App { token: TokenApi::Classic, ..app() },
            App { secret: Some(Secret::new("another-secret-another-secret-00")), ..app() },
        ];
        for other in &changed {
            let state = seen(&stage, other).await;
            assert_eq!((state.failures, state.report_refreshes), (0, 0));
            assert!(due_at(&state, NOW) <= NOW, "still paused");
        }
        // The value is in use until its successor comes.
        let [_, classic, _] = &changed;
        let usable = async || stage.store.token(&stage.seal(), classic, KIND, NOW).await.unwrap();
        assert_eq!(usable().await.unwrap().value.expose(), "token-1");
        fail(&stage, &lease, classic, NOW.after(seconds(60)), "refused").await;
        let state = seen(&stage, classic).await;
        assert_eq!((state.failures, due_at(&state, NOW)), (1, NOW.after(seconds(60))), "counted anew");
        let merchants = merchants();
        let (write, token) = (write(&lease, classic, &merchants), issued("token-2"));
        commit(&stage.store, &stage.seal(), write, |before| policy::issued(before, &token, NOW)).await.unwrap();
        let state = seen(&stage, classic).await;
        assert_eq!((state.degraded.clone(), due_at(&state, NOW)), (None, NOW.after(seconds(6960))));
        assert_eq!(stage.count("outbox WHERE event_type = 'wxpay.app.recovered.v1'").await, 2, "announced to be over");
        assert_eq!(stage.count("platform_tokens WHERE fingerprint LIKE '%s1s2s3%'").await, 0);
    }

    async fn a_token_of_a_clock_that_was_a_day_ahead_is_not_there_and_due(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        let day = seconds(86_400);
        let at = |ahead| {
            let IssuedToken { fetched_at, expires_at, refresh_at, .. } = issued("");
            let [fetched_at, expires_at, refresh_at] = [fetched_at, expires_at, refresh_at].map(|t| t.after(ahead));
            IssuedToken { fetched_at, expires_at, refresh_at, ..issued("token-1") }
        };
        stage.put(&lease, &at(day)).await;
        assert_eq!(stage.token(NOW).await, None, "it would count as alive for 26 hours");
        assert!(due_at(&stage.state().await, NOW) <= NOW);
        stage.put(&lease, &at(seconds(100))).await;
        assert_eq!(stage.token(NOW).await.as_deref(), Some("token-1"), "clocks differ a little");
        assert!(due_at(&stage.state().await, NOW) > NOW);
        // A pause, a report and a doubt of that clock hold nothing back either, and do not make it due for ever.
        fail(&stage, &lease, &app(), NOW.after(day), "refused").await;
        assert!(due_at(&stage.state().await, NOW.after(seconds(7200))) <= NOW.after(seconds(7200)));
        stage.put(&lease, &at(seconds(0))).await;
        stage.store.doubt_token(&app().key, KIND, NOW.after(day)).await.unwrap();
        assert_eq!(due_at(&stage.state().await, NOW), NOW.after(seconds(6960)));
        let hash = sha256_hex(b"token-1");
        assert!(stage.store.report_dead_token(&app().key, KIND, &hash, NOW.after(day)).await.unwrap());
        assert!(due_at(&stage.state().await, NOW) <= NOW);
    }

    async fn a_doubted_value_is_due_once_also_when_it_is_written_after_the_doubt(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        let later = NOW.after(seconds(5));
        // Nothing was fetched yet: the successor's first value is on its way.
        stage.store.doubt_token(&app().key, KIND, later).await.unwrap();
        assert_eq!(stage.put(&lease, &issued("token-1")).await, Fenced::Done(true));
        assert_eq!(stage.token(later).await.as_deref(), Some("token-1"), "in use until its successor comes");
        assert_eq!(due_at(&stage.state().await, later), later);
        let next = IssuedToken { fetched_at: later.after(seconds(1)), ..issued("token-2") };
        stage.put(&lease, &next).await;
        assert_eq!(due_at(&stage.state().await, later.after(seconds(1))), NOW.after(seconds(6960)), "one refresh");
    }

    async fn a_report_between_reading_a_token_and_replacing_it_is_not_overwritten(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        stage.put(&lease, &issued("token-1")).await;
        let before = stage.state().await;
        let next = policy::issued(&before, &issued("token-1"), NOW);
        assert!(stage.report("token-1").await);
        let change = TokenChange { lease: lease.clone(), app: app(), before, next, events: Vec::new() };
        let replaced = stage.store.replace_token(&stage.seal(), change).await.unwrap();
        assert_eq!(replaced, Fenced::Done(false));
        assert_eq!(stage.state().await.report, Some(TokenReport::Reported(NOW)));
        assert!(stage.token(NOW).await.is_none());
    }

    async fn a_degradation_of_an_app_that_no_merchant_lists_is_kept_and_announced_to_no_merchant(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        let (shop, no_merchant) = (app(), []);
        let failure = TokenFailure { next_try_at: NOW, degraded: Some(("refused", Some(40164))) };
        stage.failed(write(&lease, &shop, &no_merchant), failure).await;
        assert_eq!(stage.state().await.degraded.unwrap().errcode, Some(40164));
        assert_eq!(stage.count("outbox").await, 0);
    }

    async fn a_value_that_cannot_be_opened_is_distinguished_from_none(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        stage.store.doubt_token(&app().key, KIND, NOW).await.unwrap();
        assert!(!stage.state().await.is_unreadable());
        stage.put(&lease, &issued("token-1")).await;
        assert!(!stage.state().await.is_unreadable());
        let other = seal_key("another-key-another-key-another-");
        let state = stage.store.token_states(&other, &app()).await.unwrap().pop().unwrap();
        assert!(state.is_unreadable() && state.token.is_none());
    }
}
