//! Who the simulator's merchants and apps are and how fast its time runs.

use std::collections::BTreeMap;

use crate::ids::{AppId, MchId};
use crate::secret::{Secret, V2Key, sha256_hex};

/// One merchant that the simulator knows.
#[derive(Debug, Clone)]
pub struct Account {
    pub mch_id: MchId,
    /// The key that signs both ways.
    pub v2_key: V2Key,
    /// The apps bound to it.
    pub appids: Vec<AppId>,
}

impl Account {
    /// The same merchant in WeChat's own test environment (`/sandboxnew`), which has a key of its own.
    pub(super) fn in_test(&self) -> Account {
        let digest = sha256_hex(format!("sandboxnew:{}", self.v2_key.expose()).as_bytes());
        let v2_key = V2Key::parse(&digest[..32]).unwrap_or_else(|_| self.v2_key.clone());
        Account { v2_key, ..self.clone() }
    }
}

/// What an app of the platform is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlatformKind {
    /// A service account: OAuth, JS-SDK, access_token, jsapi_ticket.
    OfficialAccount,
    /// A mini program: code2Session, phone numbers, access_token.
    MiniProgram,
}

/// One app of the platform side. The merchants it may pay to are those that list its appid.
#[derive(Debug, Clone)]
pub struct PlatformApp {
    pub appid: AppId,
    /// What its server proves itself with.
    pub secret: Secret,
    pub kind: PlatformKind,
    /// The "web authorization domain": the `host[:port]` that a `redirect_uri` must have. None: any loopback address.
    pub web_domain: Option<String>,
    /// The `host[:port]`s whose pages may use the JS-SDK and pay. Empty: any loopback address.
    pub js_domains: Vec<String>,
}

impl PlatformApp {
    /// An app whose pages are on loopback.
    pub fn new(kind: PlatformKind, appid: AppId, secret: Secret) -> PlatformApp {
        PlatformApp { appid, secret, kind, web_domain: None, js_domains: Vec::new() }
    }
}

/// What a simulator is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The merchants; at least one.
    pub merchants: Vec<Account>,
    /// How payers know merchants, by `mch_id`; one without a name is shown by its number.
    pub merchant_names: BTreeMap<String, String>,
    /// The apps that can log people in and fetch tokens. Merchants can be paid for apps that are not listed here.
    pub apps: Vec<PlatformApp>,
    /// Life of an access_token, a jsapi_ticket and a user's OAuth token in seconds; never scaled, because it is what
    /// `expires_in` says. WeChat's is 7200.
    pub token_lifetime_s: u32,
    /// How long the token before stays valid beside its successor, in seconds; never scaled. WeChat's is 300.
    pub token_overlap_s: u32,
    /// Every duration of WeChat's own (repeats of a notification, life of a `prepay_id`, of an `mweb_url`, of an order
    /// without `time_expire`, of a login code, the five minutes before closing, a refund's way and the minute between
    /// two, the year in which a payment can be refunded) is divided by this. 1 is real time. `time_expire` is a moment
    /// the merchant named and is not scaled, nor are network timeouts.
    pub time_scale: u32,
    /// Seeds the dice of the faults and the numbers issued: one seed and one order of requests give one history.
    pub seed: u64,
}

impl Default for Settings {
    /// WeChat's durations, no merchants or people: the base of a literal.
    fn default() -> Settings {
        Settings {
            merchants: Vec::new(),
            merchant_names: BTreeMap::new(),
            apps: Vec::new(),
            token_lifetime_s: 7200,
            token_overlap_s: 300,
            time_scale: 1,
            seed: 1,
        }
    }
}

impl Settings {
    /// The merchant of WeChat's public signing example with its official account, and a mini program, in real time.
    /// The key is printed in WeChat's documentation; the apps' secrets are this simulator's own and no secrets at all.
    pub fn example() -> Settings {
        let parties = || -> Option<(Account, Vec<PlatformApp>)> {
            let account = AppId::parse("wxd930ea5d5a258f4f").ok()?;
            let mini = AppId::parse("wx6d5a258f4fd930ea").ok()?;
            let merchant = Account {
                mch_id: MchId::parse("10000100").ok()?,
                v2_key: V2Key::parse("192006250b4c09247ec02edce69f6a2d").ok()?,
                appids: vec![account.clone(), mini.clone()],
            };
            let app = |kind, appid, secret: &str| PlatformApp::new(kind, appid, Secret::new(secret));
            let apps = vec![
                app(PlatformKind::OfficialAccount, account, "example0secret0of0the0account000"),
                app(PlatformKind::MiniProgram, mini, "example0secret0of0mini0program00"),
            ];
            Some((merchant, apps))
        };
        let (merchants, apps) = parties().map_or_else(Default::default, |(merchant, apps)| (vec![merchant], apps));
        Settings { merchants, apps, ..Settings::default() }
    }
}
