//! What the browser side and the scheduler keep: the same tests on SQLite and on PostgreSQL.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::{App, AppKind, TokenApi};
use wxpay_worker::ids::{AppId, AppKey, MerchantKey, OpenId, OrderNo};
use wxpay_worker::money::Fen;
use wxpay_worker::scheduler::token_commit::{TokenWrite, commit};
use wxpay_worker::scheduler::token_refresh_policy as policy;
use wxpay_worker::scheduler::token_refresh_policy::{IssuedToken, TokenFailure};
use wxpay_worker::sealed_box::SealKey;
use wxpay_worker::secret::{Secret, sha256_hex};
use wxpay_worker::store::{
    ClaimedCode, Fenced, JobOutcome, JobRun, LOGIN_CODE_LIFE, Lease, LoginOutcome, NewUser, TOKEN_SEAL, TokenKind,
    TokenReport, TokenState,
};

use crate::harness::db::TestDb;
use crate::harness::store::TestStore;

pub const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);
const CLAIM_TTL: Duration = Duration::from_secs(15);
const SECRET: &str = "s1s2s3s4s5s6s7s8s9s0a1a2a3a4a5a6";

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn key(name: &str) -> AppKey {
    AppKey::parse(name).unwrap()
}

fn openid(n: u32) -> OpenId {
    OpenId::parse(format!("oUpF8uMuAJO_M2pxb1Q9zNjW{n:04}")).unwrap()
}

pub fn app() -> App {
    App {
        key: key("shop"),
        app_id: AppId::parse("wxd930ea5d5a258f4f").unwrap(),
        kind: AppKind::OfficialAccount,
        secret: Some(Secret::new(SECRET)),
        token: TokenApi::Stable,
    }
}

pub fn merchants() -> Vec<MerchantKey> {
    ["main", "second"].map(|name| MerchantKey::parse(name).unwrap()).to_vec()
}

pub fn seal_key(secret: &str) -> SealKey {
    SealKey::derive(&Secret::new(secret), TOKEN_SEAL).unwrap()
}

pub fn issued(value: &str) -> IssuedToken {
    IssuedToken {
        value: Secret::new(value),
        fetched_at: NOW,
        expires_at: NOW.after(seconds(7200)),
        refresh_at: NOW.after(seconds(6960)),
        because_of: None,
        degraded: None,
    }
}

pub fn write<'a>(lease: &'a Lease, app: &'a App, merchants: &'a [MerchantKey]) -> TokenWrite<'a> {
    TokenWrite { lease, app, kind: TokenKind::AccessToken, merchants, now: NOW }
}

fn user(n: u32) -> NewUser {
    NewUser { app: key("shop"), openid: openid(n), unionid: None, nickname: None, avatar_url: None, is_snapshot: false }
}

impl TestStore {
    pub fn seal(&self) -> SealKey {
        seal_key("k1k2k3k4k5k6k7k8k9k0k1k2k3k4k5k6")
    }

    pub async fn lease(&self, holder: &str, ttl: Duration) -> Lease {
        loop {
            if let Some(lease) = self.store.lease("platform_tokens", holder, ttl).await.unwrap() {
                return lease;
            }
        }
    }

    pub async fn put(&self, lease: &Lease, token: &IssuedToken) -> Fenced<bool> {
        let (app, merchants) = (app(), merchants());
        let write = write(lease, &app, &merchants);
        commit(&self.store, &self.seal(), write, |before| policy::issued(before, token, NOW)).await.unwrap()
    }

    /// Notes a fetch that gave nothing.
    pub async fn failed(&self, write: TokenWrite<'_>, failure: TokenFailure) -> Fenced<bool> {
        commit(&self.store, &self.seal(), write, |before| policy::failed(before, failure, NOW)).await.unwrap()
    }

    async fn fail(&self, lease: &Lease, degraded: Option<(&'static str, Option<i64>)>) {
        let failure = TokenFailure { next_try_at: NOW.after(seconds(60)), degraded };
        let noted = self.failed(write(lease, &app(), &merchants()), failure).await;
        assert_eq!(noted, Fenced::Done(false));
    }

    /// What a request path would use at this time.
    pub async fn token(&self, now: Timestamp) -> Option<String> {
        let found = self.store.token(&self.seal(), &app(), TokenKind::AccessToken, now).await.unwrap();
        found.map(|token| token.value.expose().to_owned())
    }

    pub async fn state(&self) -> TokenState {
        let states = self.store.token_states(&self.seal(), &app()).await.unwrap();
        states.into_iter().find(|state| state.kind == TokenKind::AccessToken).unwrap()
    }

    pub async fn report(&self, value: &str) -> bool {
        let hash = sha256_hex(value.as_bytes());
        self.store.report_dead_token(&key("shop"), TokenKind::AccessToken, &hash, NOW).await.unwrap()
    }

    async fn claim(&self, code: &str, state: &str, now: Timestamp) -> ClaimedCode {
        self.store.claim_code(code, &key("shop"), state, now, CLAIM_TTL).await.unwrap()
    }

    async fn offer(&self, old: Option<&str>, new: &str) -> String {
        let number = |text: &str| OrderNo::parse(text).unwrap();
        let old = old.map(number);
        let (app, amount, new) = (key("shop"), Fen::from_i64(100), number(new));
        self.store.offer_wallet_order(&app, &openid(1), amount, old.as_ref(), &new, NOW).await.unwrap().to_string()
    }

    async fn run_of(&self, lease: &Lease, started_s: u64, outcome: JobOutcome) {
        let started_at = NOW.after(seconds(started_s));
        let run = JobRun { started_at, ended_at: started_at, outcome, done: 3, detail: Some("did".into()) };
        self.store.report_job(lease, None, &run, started_at.after(seconds(1))).await.unwrap();
    }
}

/// What many tasks at once were answered.
async fn at_once<T, F>(many: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..many).map(|n| tokio::spawn(task(n))).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

on_both_databases! {
    async fn a_user_is_one_row_per_app_and_keeps_what_a_silent_login_does_not_bring(stage) {
        let full = NewUser {
            unionid: Some("u1".into()), nickname: Some("小明".into()), avatar_url: Some("https://a/1".into()), ..user(1)
        };
        let id = stage.store.save_user(&full, NOW).await.unwrap();
        let later = NOW.after(seconds(60));
        let again = NewUser { is_snapshot: true, nickname: Some("大明".into()), ..user(1) };
        assert_eq!(stage.store.save_user(&again, later).await.unwrap(), id);
        let other_app = NewUser { app: key("mini"), ..user(1) };
        assert_ne!(stage.store.save_user(&other_app, later).await.unwrap(), id);
        let read = stage.store.user(&key("shop"), &openid(1)).await.unwrap().unwrap();
        assert_eq!((read.unionid.as_deref(), read.avatar_url.as_deref()), (Some("u1"), Some("https://a/1")));
        assert_eq!((read.nickname.as_deref(), read.is_snapshot), (Some("大明"), true));
        assert_eq!((read.created_at, read.updated_at), (NOW, later));
        assert_eq!(stage.store.user_by_id(id).await.unwrap().unwrap(), read);
        assert!(stage.store.user(&key("shop"), &openid(2)).await.unwrap().is_none());
        assert!(!format!("{read:?}").contains("oUpF8"), "an openid in Debug");
    }

    async fn concurrent_logins_of_one_user_agree_on_the_row(stage) {
        let ids = at_once(16, |_| {
            let store = stage.store.clone();
            async move { store.save_user(&user(1), NOW).await.unwrap() }
        }).await;
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(stage.count("users").await, 1);
    }

    async fn a_code_is_claimed_by_exactly_one_and_the_others_get_its_outcome(stage) {
        let claims = at_once(16, |_| {
            let store = stage.store.clone();
            async move { store.claim_code("c1", &key("shop"), "s1", NOW, CLAIM_TTL).await.unwrap() }
        }).await;
        assert_eq!(claims.iter().filter(|claim| **claim == ClaimedCode::Mine).count(), 1, "{claims:?}");
        assert_eq!(claims.iter().filter(|claim| **claim == ClaimedCode::Busy).count(), 15, "{claims:?}");
        let user_id = stage.store.save_user(&user(1), NOW).await.unwrap();
        let outcome = LoginOutcome::LoggedIn { user_id, is_snapshot: true };
        assert_eq!(stage.store.finish_code("c1", outcome, NOW).await.unwrap(), outcome);
        assert_eq!(stage.claim("c1", "s1", NOW.after(seconds(60))).await, ClaimedCode::Done(outcome));
        let second = stage.store.finish_code("c1", LoginOutcome::Failed, NOW).await.unwrap();
        assert_eq!(second, outcome, "the first outcome stands");
        let too_late = NOW.after(LOGIN_CODE_LIFE + seconds(1));
        let over = ClaimedCode::Done(LoginOutcome::Over);
        assert_eq!(stage.claim("c1", "s1", too_late).await, over, "a code logs in for 5 minutes");
    }

    async fn a_code_under_another_state_and_a_state_with_another_code_are_foreign(stage) {
        assert_eq!(stage.claim("c1", "s1", NOW).await, ClaimedCode::Mine);
        assert_eq!(stage.claim("c1", "s2", NOW).await, ClaimedCode::Foreign);
        assert_eq!(stage.claim("c2", "s1", NOW).await, ClaimedCode::Foreign);
        let other_app = stage.store.claim_code("c1", &key("mini"), "s1", NOW, CLAIM_TTL).await.unwrap();
        assert_eq!(other_app, ClaimedCode::Foreign);
        stage.store.finish_code("c1", LoginOutcome::Failed, NOW).await.unwrap();
        let again = stage.claim("c2", "s1", NOW.after(seconds(400))).await;
        assert_eq!(again, ClaimedCode::Foreign, "a state is used once");
        assert_eq!(stage.claim("c2", "s2", NOW).await, ClaimedCode::Mine);
    }

    async fn a_code_whose_claimer_died_is_over_and_never_exchanged_again(stage) {
        assert_eq!(stage.claim("c1", "s1", NOW).await, ClaimedCode::Mine);
        let almost = Timestamp::from_ms(NOW.after(CLAIM_TTL).as_ms() - 1);
        assert_eq!(stage.claim("c1", "s1", almost).await, ClaimedCode::Busy);
        assert_eq!(stage.claim("c1", "s1", NOW.after(CLAIM_TTL)).await, ClaimedCode::Done(LoginOutcome::Over));
        let user_id = stage.store.save_user(&user(1), NOW).await.unwrap();
        let late = LoginOutcome::LoggedIn { user_id, is_snapshot: false };
        let finished = stage.store.finish_code("c1", late, NOW).await.unwrap();
        assert_eq!(finished, LoginOutcome::Over, "it was answered otherwise before");
        assert_eq!(stage.store.purge_login_codes(NOW, 10).await.unwrap(), 0);
        assert_eq!(stage.store.purge_login_codes(NOW.after(seconds(1)), 10).await.unwrap(), 1);
        assert_eq!(stage.count("login_codes").await, 0);
    }

    async fn of_two_offers_of_a_wallet_order_one_wins_and_both_show_it(stage) {
        let offered = at_once(16, |n| {
            let store = stage.store.clone();
            let new = OrderNo::parse(format!("W{n:02}")).unwrap();
            async move {
                store.offer_wallet_order(&key("shop"), &openid(1), Fen::from_i64(100), None, &new, NOW).await.unwrap()
            }
        }).await;
        assert!(offered.iter().all(|order| *order == offered[0]), "{offered:?}");
        let first = offered[0].to_string();
        let read = stage.store.wallet_order(&key("shop"), &openid(1), Fen::from_i64(100)).await.unwrap();
        assert_eq!(read.unwrap().as_str(), first);
        assert_eq!(stage.offer(Some("W-other"), "W-late").await, first, "the old one is not the one offered");
        assert_eq!(stage.offer(Some(&first), "W-next").await, "W-next");
        assert_eq!(stage.offer(Some(&first), "W-slow").await, "W-next");
        let elsewhere = [(openid(2), 100), (openid(1), 101)];
        for (who, amount) in elsewhere {
            assert!(stage.store.wallet_order(&key("shop"), &who, Fen::from_i64(amount)).await.unwrap().is_none());
        }
        assert_eq!(stage.store.purge_wallet_orders(NOW.after(seconds(1)), 10).await.unwrap(), 1);
        assert_eq!(stage.offer(Some("W-next"), "W-new").await, "W-new");
    }

    async fn a_token_is_sealed_at_rest_and_opens_for_its_app_under_its_key_only(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        assert_eq!(stage.put(&lease, &issued("token-1")).await, Fenced::Done(true));
        assert_eq!(stage.token(NOW).await.as_deref(), Some("token-1"));
        assert_eq!(stage.count("platform_tokens WHERE sealed LIKE '%token-1%'").await, 0);
        let end = NOW.after(seconds(7200));
        assert!(stage.token(Timestamp::from_ms(end.as_ms() - 1)).await.is_some());
        assert!(stage.token(end).await.is_none(), "an expired token is no token");
        let other_key = seal_key("another-key-another-key-another-");
        let kind = TokenKind::AccessToken;
        assert!(stage.store.token(&other_key, &app(), kind, NOW).await.unwrap().is_none());
        let renumbered = App { app_id: AppId::parse("wx8888888888888888").unwrap(), ..app() };
        assert!(stage.store.token(&stage.seal(), &renumbered, kind, NOW).await.unwrap().is_none());
        assert!(stage.store.token(&stage.seal(), &app(), TokenKind::JsapiTicket, NOW).await.unwrap().is_none());
    }

    async fn who_lost_the_lease_writes_no_token_and_no_failure(stage) {
        let slow = stage.lease("slow", Duration::from_millis(1)).await;
        let quick = stage.lease("quick", seconds(60)).await;
        assert_eq!(stage.put(&quick, &issued("token-2")).await, Fenced::Done(true));
        assert_eq!(stage.put(&slow, &issued("token-1")).await, Fenced::Lost);
        let failure = TokenFailure { next_try_at: NOW, degraded: Some(("refused", Some(40164))) };
        let noted = stage.failed(write(&slow, &app(), &merchants()), failure).await;
        assert_eq!(noted, Fenced::Lost);
        assert_eq!(stage.token(NOW).await.as_deref(), Some("token-2"));
        assert_eq!((stage.state().await.degraded, stage.count("outbox").await), (None, 0));
    }

    async fn a_thousand_reports_of_one_token_are_one_and_the_token_is_not_handed_out_again(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        stage.put(&lease, &issued("token-1")).await;
        assert!(!stage.report("token-0").await, "not the current one");
        let hash = sha256_hex(b"token-1");
        // No more at once than have a connection soon, on a busy machine too.
        let reports = stream::iter((0..1000).map(|_| stage.report("token-1"))).buffer_unordered(16);
        let news: Vec<bool> = reports.collect().await;
        assert_eq!(news.iter().filter(|news| **news).count(), 1);
        assert_eq!(stage.state().await.report, Some(TokenReport::Reported(NOW)));
        assert!(stage.token(NOW).await.is_none());
        let next = IssuedToken { because_of: Some(hash), ..issued("token-2") };
        assert_eq!(stage.put(&lease, &next).await, Fenced::Done(true));
        assert!(!stage.report("token-1").await, "it was replaced because of this");
        let state = stage.state().await;
        assert_eq!((state.report, state.report_refreshes), (None, 1));
        assert_eq!(stage.token(NOW).await.as_deref(), Some("token-2"));
        stage.put(&lease, &issued("token-3")).await;
        assert_eq!(stage.state().await.report_refreshes, 0, "token-2 lived its whole life");
    }

    async fn a_refused_token_that_wechat_repeats_is_used_again_and_reported_no_more(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        stage.put(&lease, &issued("token-1")).await;
        assert!(stage.report("token-1").await);
        // Fetched for another reason, before the report was seen: it stays to be answered.
        assert_eq!(stage.put(&lease, &issued("token-1")).await, Fenced::Done(false));
        assert_eq!(stage.state().await.report, Some(TokenReport::Reported(NOW)));
        let same = IssuedToken { because_of: Some(sha256_hex(b"token-1")), ..issued("token-1") };
        assert_eq!(stage.put(&lease, &same).await, Fenced::Done(false));
        let state = stage.state().await;
        assert_eq!(state.report, Some(TokenReport::Answered));
        assert_eq!(state.degraded.unwrap().reason, "refused_though_current");
        assert_eq!(stage.token(NOW).await.as_deref(), Some("token-1"));
        assert!(!stage.report("token-1").await);
        assert_eq!(stage.put(&lease, &issued("token-2")).await, Fenced::Done(true));
        assert_eq!(stage.state().await.degraded, None);
        assert_eq!(stage.count("outbox WHERE event_type = 'wxpay.app.degraded.v1'").await, 2, "one for each merchant");
        assert_eq!(stage.count("outbox WHERE event_type = 'wxpay.app.recovered.v1'").await, 2);
    }

    async fn a_failure_keeps_the_value_and_a_degradation_is_announced_once_until_it_ends(stage) {
        let lease = stage.lease("one", seconds(60)).await;
        stage.put(&lease, &issued("token-1")).await;
        stage.fail(&lease, None).await;
        assert_eq!((stage.state().await.failures, stage.count("outbox").await), (1, 0));
        for errcode in [40164, 40164, 40013] {
            stage.fail(&lease, Some(("refused", Some(errcode)))).await;
        }
        stage.fail(&lease, None).await;
        let state = stage.state().await;
        assert_eq!((state.failures, state.next_try_at), (5, NOW.after(seconds(60))));
        let degraded = state.degraded.unwrap();
        assert_eq!((degraded.since, degraded.errcode), (NOW, Some(40013)));
        assert_eq!(stage.count("outbox").await, 2, "one for each merchant");
        assert_eq!(stage.token(NOW).await.as_deref(), Some("token-1"), "the old value is still good");
        let fetch = stage.store.token_fetches().await.unwrap().pop().unwrap();
        assert_eq!((fetch.app, fetch.kind, fetch.at), (key("shop"), TokenKind::AccessToken, NOW));
        stage.put(&lease, &issued("token-2")).await;
        let state = stage.state().await;
        assert_eq!((state.failures, state.next_try_at, state.degraded), (0, Timestamp::from_ms(0), None));
        assert_eq!(stage.count("outbox WHERE event_type = 'wxpay.app.recovered.v1'").await, 2);
    }

    async fn a_job_is_due_when_new_stays_due_when_missed_and_is_not_due_after_its_run(stage) {
        let store = &stage.store;
        let hour = seconds(3600);
        let register = async |cron: &str, now: Timestamp, next: Timestamp| {
            store.register_job("platform_tokens", cron, 60_000, now, next).await.unwrap();
        };
        let is_due = async |now: Timestamp| store.is_job_due("platform_tokens", now, now.after(hour)).await.unwrap();
        register("0 7 * * * *", NOW, NOW.after(hour)).await;
        assert!(is_due(NOW).await, "never run");
        assert!(store.is_job_due("unheard_of", NOW, NOW.after(hour)).await.unwrap());
        let lease = stage.lease("one", seconds(60)).await;
        stage.run_of(&lease, 0, JobOutcome::Done).await;
        assert!(!is_due(NOW).await);
        register("0 7 * * * *", NOW, NOW.after(hour)).await;
        assert!(is_due(NOW.after(seconds(1))).await, "a restart forgot a due run");
        stage.run_of(&lease, 500, JobOutcome::Done).await;
        register("0 8 * * * *", NOW, NOW.after(seconds(60))).await;
        assert!(is_due(NOW.after(seconds(60))).await, "an earlier time counts");
        // An overtaken run reports late: its successor's due time stands.
        stage.run_of(&lease, 900, JobOutcome::Idle).await;
        stage.run_of(&lease, 0, JobOutcome::Failed).await;
        assert_eq!(store.jobs().await.unwrap()[0].next_due, NOW.after(seconds(901)));
    }

    async fn runs_are_listed_by_their_ends_and_forgotten_by_their_kind(stage) {
        let store = &stage.store;
        store.register_job("platform_tokens", "*/1 * * * * *", 45_000, NOW, NOW).await.unwrap();
        let lease = stage.lease("one", seconds(60)).await;
        for (at, outcome) in [(1, JobOutcome::Failed), (2, JobOutcome::Done), (3, JobOutcome::Idle)] {
            stage.run_of(&lease, at, outcome).await;
        }
        let begun = store.begin_job_report(&lease, NOW.after(seconds(4))).await.unwrap();
        let job = store.jobs().await.unwrap().pop().unwrap();
        let (holder, term, _) = job.lease.clone().unwrap();
        assert_eq!((holder.as_str(), term), ("one", lease.term));
        assert_eq!((job.cron.as_str(), job.deadline_ms), ("*/1 * * * * *", 45_000));
        let last = job.last.clone().unwrap();
        assert_eq!((last.outcome, last.ended_at, last.holder.as_str()), (JobOutcome::Running, None, "one"));
        assert_eq!(job.last_done.clone().unwrap().started_at, NOW.after(seconds(2)));
        let failed = job.last_failed.unwrap();
        assert_eq!((failed.outcome, failed.done, failed.detail.as_deref()), (JobOutcome::Failed, 3, Some("did")));
        let ended_at = NOW.after(seconds(9));
        let (started_at, outcome) = (NOW.after(seconds(4)), JobOutcome::Late);
        let run = JobRun { started_at, ended_at, outcome, done: 0, detail: None };
        store.report_job(&lease, Some(begun), &run, ended_at).await.unwrap();
        assert_eq!(stage.count("job_reports").await, 4, "the end is written into the row of the beginning");
        assert_eq!(store.jobs().await.unwrap()[0].last_failed.clone().unwrap().ended_at, Some(ended_at));
        let all = NOW.after(seconds(100));
        assert_eq!(store.purge_job_reports(Some(JobOutcome::Idle), None, NOW.after(seconds(3)), 9).await.unwrap(), 0);
        assert_eq!(store.purge_job_reports(Some(JobOutcome::Idle), None, all, 9).await.unwrap(), 1);
        assert_eq!(store.purge_job_reports(Some(JobOutcome::Done), Some("gauges"), all, 9).await.unwrap(), 0);
        assert_eq!(store.purge_job_reports(Some(JobOutcome::Done), Some("platform_tokens"), all, 9).await.unwrap(), 1);
        assert_eq!(store.purge_job_reports(None, None, all, 1).await.unwrap(), 1, "at most as many as asked");
        assert_eq!(store.purge_job_reports(None, None, all, 9).await.unwrap(), 1);
        store.release(&lease).await.unwrap();
        assert_eq!(store.jobs().await.unwrap()[0].lease, None);
    }
}
