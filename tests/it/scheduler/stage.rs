//! The service without a role: its database, WeChat's platform on the same clock, and the refresher between them.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::clock::{Clock, Timestamp};
use wxpay_worker::config::Config;
use wxpay_worker::sandbox::Settings;
use wxpay_worker::scheduler::{Done, JobError, Tokens};
use wxpay_worker::sealed_box::SealKey;
use wxpay_worker::secret::Secret;
use wxpay_worker::store::{Lease, StoredToken, TOKEN_SEAL, TokenKind, TokenState};
use wxpay_worker::wechat::platform::PlatformClient;

use crate::harness::assert::contradictions;
pub use crate::harness::service::{APP_ID as SHOP, MINI_APP_ID as MINI};
use crate::harness::service::{InProcess, SECOND_MERCHANT, TestService};

pub const SESSION_KEY: &str = "k1m2n3p4q5r6s7t8u9v0w1x2y3z4a5b6";
pub const LEASE: Duration = Duration::from_secs(60);

/// An app without tokens.
const NATIVE: &str = r#"
[[apps]]
key = "native"
app_id = "wx6666666666666666"
kind = "mobile"
secret = "s1s2s3s4s5s6s7s8s9s0a1a2a3a4a5a6"
"#;

/// A shop's official account that two merchants list, and a mini program of one of them.
pub struct Stage {
    pub config: Config,
    pub tokens: Arc<Tokens>,
    pub lease: Lease,
    service: InProcess,
}

impl Deref for Stage {
    type Target = InProcess;

    fn deref(&self) -> &InProcess {
        &self.service
    }
}

impl Stage {
    pub async fn open() -> Stage {
        Stage::with("stable", Settings::default()).await
    }

    pub async fn with(token: &str, settings: Settings) -> Stage {
        // Half past ten in the morning in Beijing.
        let clock = Clock::manual(Timestamp::parse_rfc3339("2026-03-01T02:30:00Z").unwrap());
        Stage::on(clock, token, settings).await
    }

    pub async fn on(clock: Clock, token: &str, settings: Settings) -> Stage {
        let service = TestService::new().without_roles().clock(clock).simulator(settings);
        let service = service.shop(&format!("token = \"{token}\"")).mini_program().config(SECOND_MERCHANT);
        let service = service.config(NATIVE).config(&format!("[web]\nsession_key = \"{SESSION_KEY}\""));
        let service = service.in_process().await;
        service.leave_unfinished("neither a worker nor a relay runs");
        let config = (*service.in_force.snapshot()).clone();
        let lease = service.store.lease("platform_tokens", "test", LEASE).await.unwrap().unwrap();
        Stage { tokens: refresher(&config), config, lease, service }
    }

    /// Asserts that no message became a dead letter and that no rows contradict each other; then the service ends.
    pub async fn finish(self) {
        assert_eq!(contradictions(self.store.db()).await, [] as [String; 0]);
        self.service.finish().await;
    }

    /// One run of the job.
    pub async fn run(&self) -> Result<Done, JobError> {
        self.tokens.refresh_due(&self.store, &self.clock, &self.lease).await
    }

    /// Runs every second for so long.
    pub async fn run_for(&self, seconds: u64) {
        self.run_every(1, seconds).await;
    }

    /// Runs every so many seconds for so long.
    pub async fn run_every(&self, step_s: u64, seconds: u64) {
        for _ in 0..seconds / step_s {
            self.clock.advance(Duration::from_secs(step_s));
            self.run().await.unwrap();
        }
    }

    pub fn seal(&self) -> SealKey {
        SealKey::derive(&Secret::new(SESSION_KEY), TOKEN_SEAL).unwrap()
    }

    /// What a request path would use.
    pub async fn token(&self, app: &str, kind: TokenKind) -> Option<StoredToken> {
        let app = self.config.app(app).unwrap();
        self.store.token(&self.seal(), app, kind, self.clock.now()).await.unwrap()
    }

    pub async fn state(&self, app: &str, kind: TokenKind) -> TokenState {
        let states = self.store.token_states(&self.seal(), self.config.app(app).unwrap()).await.unwrap();
        states.into_iter().find(|state| state.kind == kind).unwrap()
    }

    /// What a request path says that was refused.
    pub async fn report(&self, app: &str, token: &StoredToken) -> bool {
        let key = &self.config.app(app).unwrap().key;
        self.store.report_dead_token(key, TokenKind::AccessToken, &token.hash, self.clock.now()).await.unwrap()
    }

    /// Whether WeChat takes this value.
    pub async fn is_alive(&self, token: &StoredToken) -> bool {
        self.wechat_control("platform/check", json!({"value": token.value.expose()})).await["alive"] == true
    }

    /// How often WeChat was called.
    pub async fn calls(&self, api: &str, appid: &str) -> u64 {
        let (_, seen) = self.try_get(&self.wechat_url, "/_sandbox/platform/calls").await.unwrap();
        let of = |call: &&Value| call["api"] == api && call["appid"] == appid;
        seen["calls"].as_array().unwrap().iter().find(of).map_or(0, |call| call["count"].as_u64().unwrap())
    }

    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT COUNT(*) FROM {table}")).await
    }

    /// How often something was announced.
    pub async fn announced(&self, entity_fact: &str) -> i64 {
        self.count(&format!("outbox WHERE event_type = 'wxpay.{entity_fact}.v1'")).await
    }
}

/// As each process has one.
pub fn refresher(config: &Config) -> Arc<Tokens> {
    let platform = PlatformClient::new(&config.wechat).unwrap();
    Arc::new(Tokens::new(config, platform).unwrap().unwrap())
}
