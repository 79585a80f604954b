//! What operators read: the jobs, and how the apps' tokens stand.

use std::time::Duration;

use wxpay_worker::secret::sha256_hex;
use wxpay_worker::store::{JobOutcome, JobRun, TokenKind};

use super::client::until_ready;
use super::stage::{KEY, OTHER_MERCHANT, Stage};
use crate::web::browser::{ACCESS_TOKEN, TICKET, stage as browser_stage, store_token};

pub const OPS_KEY: &str = "wxk_ops_only";

pub async fn with_ops_key() -> Stage {
    let hash = sha256_hex(OPS_KEY.as_bytes());
    let key = format!("[[api_keys]]\nname = \"ops\"\nhash = \"sha256:{hash}\"\nscopes = [\"ops\"]\n");
    Stage::with("", &key).await
}

async fn ask(stage: &Stage, key: &str, path: &str) -> super::client::Reply {
    stage.send("GET", path, &[("Authorization", &format!("Bearer {key}"))], b"").await
}

#[tokio::test]
async fn a_job_is_shown_with_its_rhythm_its_lease_and_its_last_runs() {
    let stage = with_ops_key().await;
    let now = stage.clock.now();
    let at = |seconds| now.after(Duration::from_secs(seconds));
    stage.store.register_job("retention", "0 7 * * * *", 600_000, now, at(60)).await.unwrap();
    let lease = stage.store.lease("retention", "4711-abc", Duration::from_secs(60)).await.unwrap().unwrap();
    for (started, outcome, detail) in [(1, JobOutcome::Failed, Some("no disk")), (2, JobOutcome::Idle, None)] {
        let run =
            JobRun { started_at: at(started), ended_at: at(started), outcome, done: 0, detail: detail.map(Into::into) };
        stage.store.report_job(&lease, None, &run, at(3600)).await.unwrap();
    }
    let reply = ask(&stage, OPS_KEY, "/v1/ops/jobs").await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")));
    let job = reply.json()["jobs"][0].clone();
    assert_eq!((job["name"].as_str(), job["cron"].as_str()), (Some("retention"), Some("0 7 * * * *")));
    assert_eq!((job["deadline_ms"].as_i64(), job["next_due"].as_str()), (Some(600_000), Some(&*at(3600).to_string())));
    assert_eq!((job["lease"]["holder"].as_str(), job["lease"]["term"].as_i64()), (Some("4711-abc"), Some(1)));
    assert_eq!(
        (job["last"]["outcome"].as_str(), job["last"]["started_at"].as_str()),
        (Some("idle"), Some(&*at(2).to_string()))
    );
    assert_eq!((job["last_failed"]["detail"].as_str(), job["last_done"].is_null()), (Some("no disk"), true));
    stage.finish().await;
}

#[tokio::test]
async fn what_a_run_says_and_what_is_measured_is_for_keys_that_see_every_merchant() {
    const LIMITED_KEY: &str = "wxk_ops_of_one_merchant";
    let keys: String = [(OPS_KEY, "\"all\""), (LIMITED_KEY, "[\"other\"]")]
        .map(|(key, merchants)| {
            let hash = sha256_hex(key.as_bytes());
            let rights = format!("scopes = [\"ops\"]\nmerchants = {merchants}");
            format!("[[api_keys]]\nname = \"{key}\"\nhash = \"sha256:{hash}\"\n{rights}\n")
        })
        .concat();
    let stage = Stage::with("", &format!("{OTHER_MERCHANT}{keys}")).await;
    let now = stage.clock.now();
    stage.store.register_job("repairs", "0 7 * * * *", 600_000, now, now).await.unwrap();
    let lease = stage.store.lease("repairs", "4711-abc", Duration::from_secs(60)).await.unwrap().unwrap();
    for outcome in [JobOutcome::Failed, JobOutcome::Done] {
        let detail = Some("main 2026-02-28: WeChat does not answer".into());
        let run = JobRun { started_at: now, ended_at: now, outcome, done: 1, detail };
        stage.store.report_job(&lease, None, &run, now.after(Duration::from_secs(3600))).await.unwrap();
    }
    for (key, shown) in [(OPS_KEY, true), (LIMITED_KEY, false)] {
        let reply = ask(&stage, key, "/v1/ops/jobs").await;
        let job = reply.json()["jobs"][0].clone();
        assert_eq!((job["last"]["done"].as_i64(), job["name"].as_str()), (Some(1), Some("repairs")), "{job}");
        assert!(job["last_done"].is_object() && job["last_failed"].is_object(), "{job}");
        assert_eq!(reply.text().contains("2026-02-28"), shown, "{job}");
        let headers = [("X-Forwarded-For", "203.0.113.9"), ("Authorization", &*format!("Bearer {key}"))];
        let ready = until_ready(stage.address, &headers).await;
        assert_eq!((ready.status, ready.text().contains("checks")), (200, shown), "{}", ready.text());
        let metrics = stage.send("GET", "/metrics", &headers, b"").await;
        assert_eq!((metrics.status == 200, metrics.status == 403), (shown, !shown), "{}", metrics.text());
    }
    stage.finish().await;
}

#[tokio::test]
async fn only_operators_read_the_jobs() {
    let stage = with_ops_key().await;
    assert_eq!(stage.send("GET", "/v1/ops/jobs", &[], b"").await.status, 401);
    assert_eq!(ask(&stage, KEY, "/v1/ops/jobs").await.status, 403);
    assert_eq!(ask(&stage, OPS_KEY, "/v1/ops/jobs?job=x").await.status, 400);
    assert_eq!(ask(&stage, OPS_KEY, "/v1/ops/jobs").await.json()["jobs"].as_array().unwrap().len(), 0);
    stage.finish().await;
}

#[tokio::test]
async fn an_app_without_a_fresh_token_is_named_and_the_process_stays_ready() {
    let (stage, _platform) = browser_stage().await;
    let shop = async || {
        let ready = until_ready(stage.address, &[]).await;
        assert_eq!(ready.json()["ready"], true);
        let checks = ready.json()["checks"].as_array().unwrap().clone();
        let check = checks.iter().find(|check| check["name"] == "app:shop").unwrap().clone();
        (check["ok"].as_bool().unwrap(), check["reason"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(shop().await, (false, "access_token: not fetched yet; jsapi_ticket: not fetched yet".into()));
    store_token(&stage, "shop", TokenKind::AccessToken, ACCESS_TOKEN).await;
    assert_eq!(shop().await, (false, "jsapi_ticket: not fetched yet".into()));
    store_token(&stage, "shop", TokenKind::JsapiTicket, TICKET).await;
    assert_eq!(shop().await, (true, String::new()));
    // As after a change of the session key.
    let sealed = "UPDATE platform_tokens SET sealed = 'AAAA' || sealed WHERE kind = 'jsapi_ticket'";
    stage.store.db().execute("test", String::from(sealed), []).await.unwrap();
    let unreadable = "jsapi_ticket: was kept under another session_key or app_id, cannot be read";
    assert_eq!(shop().await, (false, unreadable.into()));
    store_token(&stage, "shop", TokenKind::JsapiTicket, TICKET).await;
    let ahead = "UPDATE platform_tokens SET fetched_at_ms = fetched_at_ms + 3600000 WHERE kind = 'jsapi_ticket'";
    stage.store.db().execute("test", String::from(ahead), []).await.unwrap();
    let (ok, reason) = shop().await;
    assert!(!ok && reason.contains("a clock is wrong"), "{reason}");
    store_token(&stage, "shop", TokenKind::JsapiTicket, TICKET).await;
    assert_eq!(shop().await, (true, String::new()));
    stage.clock.advance(Duration::from_secs(7200));
    let (ok, reason) = shop().await;
    assert!(!ok && reason.starts_with("access_token: expired at 2026-"), "{reason}");
    stage.store.db().read().clone().close().await.unwrap();
    let checks = stage.send("GET", "/readyz", &[], b"").await.json()["checks"].clone();
    let check = checks.as_array().unwrap().iter().find(|check| check["name"] == "app:shop").unwrap();
    assert!(check["reason"].as_str().unwrap().contains("the database does not say"), "{check}");
    stage.finish().await;
}
