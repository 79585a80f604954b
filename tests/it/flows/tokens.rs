//! The platform's tokens among whole processes: five that share one database, and every one of them may refresh.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use wxpay_worker::clock::Clock;
use wxpay_worker::config::{App, AppKind, TokenApi};
use wxpay_worker::ids::{AppId, AppKey};
use wxpay_worker::sandbox::Settings;
use wxpay_worker::sealed_box::SealKey;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::{Store, StoredToken, TOKEN_SEAL, TokenKind};

use crate::harness::db::TestDb;
use crate::harness::service::{APP_ID, APP_SECRET, MINI_APP_ID, MINI_SECRET, Process, Processes, TestService};
use crate::harness::{size, within_timeout};

const SESSION_KEY: &str = "k3y-0f-the-tokens-0f-the-flow-tests";
const ORIGIN: &str = "http://localhost:5173";
pub(super) const WEB: &[(&str, &str)] =
    &[("WXPAY__WEB__SESSION_KEY", SESSION_KEY), ("WXPAY__WEB__CALLBACK_ORIGINS", ORIGIN)];
/// Of the simulator: of forty seconds the last sixteen overlap with the successor. The refresh is due in the last
/// fifth, and checked once a second: a busy machine has seven seconds to spare.
const LIFETIME_S: u32 = 40;
const OVERLAP_S: u32 = 16;
/// Who give their phone numbers.
const PEOPLE: usize = 8;

/// Five processes over one database, and the same database and WeChat as the tests see them.
struct FiveProcesses {
    service: Processes,
    processes: Vec<Process>,
    store: Store,
}

impl FiveProcesses {
    async fn start(settings: Settings) -> FiveProcesses {
        FiveProcesses::start_with(settings, WEB).await
    }

    async fn start_with(settings: Settings, env: &[(&str, &str)]) -> FiveProcesses {
        let service = TestService::new().on(TestDb::postgres().await).simulator(settings).processes().await;
        let mut processes = vec![service.run_all_with(env).await];
        for _ in 0..4 {
            processes.push(service.run_beside("ingress,scheduler", env).await);
        }
        let store = Store::new(service.open_db().await);
        FiveProcesses { service, processes, store }
    }

    /// What a process would use for a call.
    async fn token(&self, app: &App, kind: TokenKind) -> Option<StoredToken> {
        let key = SealKey::derive(&Secret::new(SESSION_KEY), TOKEN_SEAL).unwrap();
        self.store.token(&key, app, kind, Clock::system().now()).await.unwrap()
    }

    async fn until_token(&self, app: &App, kind: TokenKind) -> StoredToken {
        within_timeout("a token", async {
            loop {
                if let Some(token) = self.token(app, kind).await {
                    return token;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    async fn is_alive(&self, value: &str) -> bool {
        self.operate("check", json!({"value": value})).await["alive"] == true
    }

    async fn seen(&self) -> Value {
        self.service.get(&self.service.wechat_url, "/_sandbox/platform/calls").await.1
    }

    async fn calls(&self, api: &str, appid: &str) -> u64 {
        let seen = self.seen().await;
        let of = |call: &&Value| call["api"] == api && call["appid"] == appid;
        seen["calls"].as_array().unwrap().iter().find(of).map_or(0, |call| call["count"].as_u64().unwrap())
    }

    async fn operate(&self, what: &str, body: Value) -> Value {
        self.service.wechat_control(&format!("platform/{what}"), body).await
    }

    /// How often a fetch of an app's access_token ended like this, by the jobs' own reports.
    async fn brought(&self, app: &str, outcome: &str) -> u64 {
        let sql = format!("SELECT COUNT(*) FROM job_reports WHERE detail LIKE '%{app} access_token: {outcome}%'");
        u64::try_from(self.service.number(self.store.db(), &sql).await).unwrap()
    }

    /// How many checks of the tokens, in all processes, found nothing to do.
    async fn idle_checks(&self) -> u64 {
        let idle = r#"wxpay_job_seconds_count{job="platform_tokens",outcome="checked"}"#;
        let counts = join_all(self.processes.iter().map(|p| self.service.metric::<u64>(p, idle))).await;
        counts.into_iter().flatten().sum()
    }

    /// The n-th person's session of the mini program.
    async fn session(&self, n: usize) -> String {
        let issued = self.operate("mini_code", json!({"openid": person(n)})).await;
        let login = self.mini(&self.processes[0], "login", "none", &issued["code"]).await;
        login["data"]["session"].as_str().unwrap_or_else(|| panic!("{login}")).to_owned()
    }

    /// The n-th person gives their number in one process.
    async fn phone(&self, process: &Process, session: &str, n: usize) -> Value {
        let issued = self.operate("phone_code", json!({"openid": person(n)})).await;
        self.mini(process, "phone", session, &issued["code"]).await
    }

    async fn mini(&self, process: &Process, path: &str, session: &str, code: &Value) -> Value {
        let request = self.service.http.post(format!("{}/api/wechat/mini/{path}", process.base)).bearer_auth(session);
        let body = json!({"code": code}).to_string();
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    async fn announced(&self, entity_fact: &str) -> i64 {
        let db = self.store.db();
        let sql = format!("SELECT COUNT(*) FROM outbox WHERE event_type = 'wxpay.{entity_fact}.v1'");
        self.service.number(db, &sql).await
    }
}

fn person(n: usize) -> String {
    format!("oUpF8uMuAJO_M2pxb1Q9zNjW{n:04}")
}

fn shop() -> App {
    app("shop", APP_ID, APP_SECRET, AppKind::OfficialAccount)
}

fn mini() -> App {
    app("mini", MINI_APP_ID, MINI_SECRET, AppKind::MiniProgram)
}

fn app(key: &str, app_id: &str, secret: &str, kind: AppKind) -> App {
    App {
        key: AppKey::parse(key).unwrap(),
        app_id: AppId::parse(app_id).unwrap(),
        kind,
        secret: Some(Secret::new(secret)),
        token: TokenApi::Stable,
    }
}

fn all() -> [(App, TokenKind); 3] {
    [(shop(), TokenKind::AccessToken), (shop(), TokenKind::JsapiTicket), (mini(), TokenKind::AccessToken)]
}

/// Of a machine that is busy a request may be refused unexecuted; no other refusal has to do with a machine.
fn is_busy(answer: &Value) {
    assert_eq!(answer["reason"], "busy", "{answer}");
}

/// A page of each process asks for its signature; answers how often it got one.
async fn load(five: &FiveProcesses, stop: &AtomicBool) -> u64 {
    let signed = AtomicU64::new(0);
    let pages = five.processes.iter().map(|process| async {
        let url = format!("{}/api/wechat/jssdk?url={ORIGIN}/page", process.base);
        while !stop.load(Ordering::SeqCst) {
            let answer = five.service.http.get(&url).send().await.unwrap();
            match answer.status().as_u16() {
                200 => _ = signed.fetch_add(1, Ordering::SeqCst),
                _ => is_busy(&serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    join_all(pages).await;
    signed.into_inner()
}

/// Every token that a request would be handed works at WeChat, at any time.
async fn watch(five: &FiveProcesses, stop: &AtomicBool) -> u64 {
    let mut polls = 0;
    while !stop.load(Ordering::SeqCst) {
        for (app, kind) in all() {
            let token = five.token(&app, kind).await.unwrap_or_else(|| panic!("{} without {kind:?}", app.key));
            assert!(five.is_alive(token.value.expose()).await, "{} {kind:?} is dead at WeChat", app.key);
            polls += 1;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    polls
}

/// People of the mini program ask for their phone numbers, again and again and in every process: each answer took a
/// call with the token in use. Answers how many.
async fn phones(five: &FiveProcesses, stop: &AtomicBool) -> u64 {
    let answered = AtomicU64::new(0);
    let people = (0..PEOPLE).map(|n| {
        let answered = &answered;
        async move {
            let session = five.session(n).await;
            let mut next = n;
            while !stop.load(Ordering::SeqCst) {
                let process = &five.processes[next % five.processes.len()];
                let answer = five.phone(process, &session, n).await;
                if answer["data"]["purePhoneNumber"] == "13800000000" {
                    answered.fetch_add(1, Ordering::SeqCst);
                    next += 1;
                } else {
                    is_busy(&answer);
                }
                // At most ten a minute for one person in one process.
                tokio::time::sleep(Duration::from_millis(1500)).await;
            }
        }
    });
    join_all(people).await;
    answered.into_inner()
}

/// So many lives of the tokens under load in five processes. Small: one. Long: ten, of classic ones four.
async fn lives(env: &[(&str, &str)], api: &str, lifetimes: u32) {
    let settings = Settings { token_lifetime_s: LIFETIME_S, token_overlap_s: OVERLAP_S, ..Settings::default() };
    let five = FiveProcesses::start_with(settings, env).await;
    for (app, kind) in all() {
        five.until_token(&app, kind).await;
    }
    let before = (five.calls(api, APP_ID).await, five.calls(api, MINI_APP_ID).await);
    let (stop, started) = (AtomicBool::new(false), Instant::now());
    let clock = async {
        tokio::time::sleep(Duration::from_secs(u64::from(LIFETIME_S * lifetimes))).await;
        stop.store(true, Ordering::SeqCst);
    };
    let (signed, answered, polls, ()) =
        tokio::join!(load(&five, &stop), phones(&five, &stop), watch(&five, &stop), clock);
    let lives = started.elapsed().as_secs() / u64::from(LIFETIME_S);
    let least = u64::from(lifetimes);
    assert!(signed > 100 * least && answered > 12 * least && polls > 30 * least, "{signed}, {answered}, {polls}");
    for (app, appid, before) in [("shop", APP_ID, before.0), ("mini", MINI_APP_ID, before.1)] {
        let calls = five.calls(api, appid).await - before;
        // A fifth of a life early, at the soonest.
        assert!((lives..=lives * 5 / 4 + 1).contains(&calls), "{appid}: {calls} calls in {lives} lives");
        // One refresher: each call brought a value that was written, and no call another's again.
        within_timeout(&format!("{app}: as many values as calls"), async {
            while five.brought(app, "renewed").await != five.calls(api, appid).await {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
        assert_eq!(five.brought(app, "same").await, 0, "{app}: asked for what it had");
    }
    let seen = five.seen().await;
    assert_eq!(seen["dead_token_uses"], json!([]), "{seen}");
    assert!(five.calls("getuserphonenumber", MINI_APP_ID).await >= answered, "{seen}");
    assert_eq!(five.announced("app.degraded").await, 0);
    for process in &five.processes {
        let age =
            five.service.metric::<f64>(process, r#"wxpay_token_age_seconds{app="mini",kind="access_token"}"#).await;
        // Reported by every process, of the value in use, at least every fifteen seconds.
        assert!(age.is_some_and(|age| age <= f64::from(LIFETIME_S)), "{}: {age:?}", process.base);
        let ahead = five.service.metric::<f64>(process, "wxpay_clock_ahead_seconds").await;
        assert!(ahead.is_some_and(|ahead| ahead.abs() < 5.0), "{ahead:?}");
    }
    let logs = five.service.logs();
    for secret in [SESSION_KEY, APP_SECRET, MINI_SECRET] {
        assert!(!logs.contains(secret), "a log line holds {secret}");
    }
    five.service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_processes_fetch_each_token_once_a_life_and_no_request_meets_a_dead_one() {
    lives(WEB, "stable_token", size(1, 10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_processes_fetch_each_classic_token_once_a_life_and_no_request_meets_a_dead_one() {
    let classic = [("WXPAY__APPS__0__TOKEN", "classic"), ("WXPAY__APPS__1__TOKEN", "classic")];
    lives(&[WEB, &classic].concat(), "token", size(1, 4)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_meet_a_dead_token_in_two_processes_at_once_are_one_refresh() {
    let five = FiveProcesses::start(Settings::default()).await;
    let dead = five.until_token(&mini(), TokenKind::AccessToken).await;
    let mut sessions = Vec::new();
    for n in 0..30 {
        sessions.push(five.session(n).await);
    }
    five.operate("kill_tokens", json!({"appid": MINI_APP_ID})).await;
    // The first refusal comes when the others have sent the token too.
    five.service.faults(json!([{"on": "getuserphonenumber", "kind": "slow", "delay_ms": 3000, "times": 30}])).await;
    // A request between the report and the refresh is answered to try again, and does.
    let requests = sessions.iter().enumerate().map(|(n, session)| {
        let five = &five;
        async move {
            loop {
                let answer = five.phone(&five.processes[n % 2], session, n).await;
                if answer["reason"] != "token_unavailable" {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    });
    for answer in within_timeout("the number of every request", join_all(requests)).await {
        assert_eq!(answer["data"]["purePhoneNumber"], "13800000000", "{answer}");
    }
    let fresh = five.until_token(&mini(), TokenKind::AccessToken).await;
    assert!(fresh.hash != dead.hash && five.is_alive(fresh.value.expose()).await);
    assert_eq!(five.calls("stable_token", MINI_APP_ID).await, 2, "the first, and one for all of them");
    let refused = five.seen().await["dead_token_uses"][0]["count"].as_u64().unwrap();
    assert!((10..=30).contains(&refused), "{refused} were refused, each once");
    five.service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_a_thousand_reports_from_five_processes_is_one_refresh() {
    let five = FiveProcesses::start(Settings::default()).await;
    let dead = five.until_token(&mini(), TokenKind::AccessToken).await;
    five.until_token(&shop(), TokenKind::JsapiTicket).await;
    five.operate("kill_tokens", json!({"appid": MINI_APP_ID})).await;
    // Each process has its own connections to the database, as these have.
    let stores = join_all((0..5).map(|_| async { Store::new(five.service.open_db().await) })).await;
    // No more at once than have a connection soon: a machine with two cores is not asked how long the others wait.
    let reports = join_all(stores.iter().map(|store| {
        let report = || async {
            let now = Clock::system().now();
            store.report_dead_token(&mini().key, TokenKind::AccessToken, &dead.hash, now).await.unwrap()
        };
        let reports = stream::iter((0..200).map(move |_| report())).buffer_unordered(4);
        reports.filter(|news| std::future::ready(*news)).count()
    }));
    assert_eq!(reports.await.into_iter().sum::<usize>(), 1);
    let fresh = five.until_token(&mini(), TokenKind::AccessToken).await;
    assert!(fresh.hash != dead.hash && five.is_alive(fresh.value.expose()).await);
    // Reports that come late are of a token that is gone.
    let late =
        five.store.report_dead_token(&mini().key, TokenKind::AccessToken, &dead.hash, Clock::system().now()).await;
    assert!(!late.unwrap());
    let fetches = five.calls("stable_token", MINI_APP_ID).await;
    // The tokens are checked each second: by the third check a second fetch would have shown.
    let before = five.idle_checks().await;
    within_timeout("three more checks", async {
        while five.idle_checks().await < before + 3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!((fetches, five.calls("stable_token", MINI_APP_ID).await), (2, 2), "the first, and one for all reports");
    five.service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_refresher_dies_another_process_goes_on() {
    // No life ends while five processes start on a busy machine.
    let mut five = FiveProcesses::start(Settings::default()).await;
    let token = five.until_token(&mini(), TokenKind::AccessToken).await;
    let db = five.store.db().clone();
    let leader = "SELECT CAST(SPLIT_PART(holder, '-', 1) AS BIGINT) FROM leases WHERE name = 'platform_tokens'";
    let pid = five.service.number(&db, leader).await;
    let died = five.processes.iter_mut().find(|process| i64::from(process.id()) == pid).unwrap();
    died.kill();
    five.operate("kill_tokens", json!({"appid": MINI_APP_ID})).await;
    let now = Clock::system().now();
    assert!(five.store.report_dead_token(&mini().key, TokenKind::AccessToken, &token.hash, now).await.unwrap());
    let fresh = five.until_token(&mini(), TokenKind::AccessToken).await;
    assert!(five.is_alive(fresh.value.expose()).await);
    assert_ne!(five.service.number(&db, leader).await, pid);
    assert_eq!(five.calls("stable_token", MINI_APP_ID).await, 2);
    five.service.finish().await;
}
