//! `GET /console/settings`.

use askama::Template;
use axum::response::Response;

use super::keys::{self, KeyRow};
use super::words::{self, SettingsWords};
use crate::clock::Timestamp;
use crate::config::{Config, Merchant};
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::viewer::Viewer;
use crate::ops;
use crate::order::Surplus;
use crate::store::{Access, ConsoleSession, ConsoleUser, Right, Role};

#[derive(Template)]
#[template(path = "console/settings.html")]
struct SettingsPage {
    frame: Frame,
    t: &'static SettingsWords,
    config_hash: String,
    own: i64,
    sessions: Vec<ConsoleSession>,
    users: Vec<ConsoleUser>,
    choices: Choices,
    merchants: Vec<MerchantRow>,
    keys: Vec<KeyRow>,
    older_keys: Option<String>,
}

/// What a form of access offers: the value, the word, and whether it is chosen.
pub struct Choices {
    pub roles: Vec<(&'static str, &'static str, bool)>,
    pub rights: Vec<(&'static str, &'static str, bool)>,
    /// Whether all merchants may be given away, and whether they are.
    pub may_all: bool,
    pub all: bool,
    pub merchants: Vec<(String, bool)>,
}

struct MerchantRow {
    key: String,
    mch_id: String,
    apps: String,
    fingerprint: String,
    previous: Option<(String, Timestamp)>,
    policy: String,
    ends: Option<Timestamp>,
    has_certificate: bool,
}

pub async fn get(app: Console, viewer: Viewer, filters: Filters) -> Result<Response, Fault> {
    let t = SettingsWords::of(app.lang);
    let now = app.clock.now();
    let manages = viewer.may(Right::Admin);
    let only = (!manages).then_some(viewer.session.user_id);
    let mut sessions = app.store.console_sessions(only, now, ops::users::LIMIT).await?;
    sessions.retain(|session| session.user_id == viewer.session.user_id || viewer.access().contains(&session.access));
    let mut users = if manages { app.store.console_users(ops::users::LIMIT).await? } else { Vec::new() };
    users.retain(|user| viewer.access().contains(&user.access));
    let certificates = ops::overview::certificates(&app.config, &viewer.operator()).await;
    let shown = app.config.merchants.iter().filter(|merchant| viewer.sees(&merchant.key));
    let merchants = shown.map(|merchant| MerchantRow::new(merchant, &app.config, &certificates)).collect();
    let (keys, older_keys) = if manages { keys::shown(&app, &viewer, &filters).await? } else { (Vec::new(), None) };
    page(&SettingsPage {
        frame: Frame::new(&app, &viewer, Place::Settings, t.title),
        t,
        config_hash: app.config.hash(),
        own: viewer.session.id,
        sessions,
        users,
        choices: Choices::new(&app, &viewer, &Access::of(Role::Viewer, Some(Vec::new()))),
        merchants,
        keys,
        older_keys,
    })
}

impl Choices {
    /// What the viewer may give away, with what is chosen by now.
    pub fn new(app: &Console, viewer: &Viewer, chosen: &Access) -> Choices {
        let lang = app.lang;
        let may_give = |role: &Role| role.rights().iter().all(|right| viewer.may(*right));
        let roles = Role::ALL.iter().filter(|role| may_give(role));
        let grants = [Right::Replay, Right::Refund, Right::Accept, Right::Export];
        let rights = grants.into_iter().filter(|right| viewer.may(*right));
        let of = chosen.merchants.as_deref().unwrap_or_default().iter().map(|key| (key.to_string(), true));
        let mut merchants: Vec<(String, bool)> = of.collect();
        for name in viewer.merchant_names(&app.config) {
            if !merchants.iter().any(|(known, _)| *known == name) {
                merchants.push((name, false));
            }
        }
        // Those that left the configuration stand among them: saving the form must not change what it does not show.
        merchants.sort();
        Choices {
            roles: roles.map(|role| (role.as_str(), words::role(*role, lang), *role == chosen.role)).collect(),
            rights: rights
                .map(|right| (right.as_str(), words::right(right, lang), chosen.grants.contains(&right)))
                .collect(),
            may_all: viewer.merchants().is_none(),
            all: chosen.merchants.is_none(),
            merchants,
        }
    }
}

impl MerchantRow {
    fn new(merchant: &Merchant, config: &Config, certificates: &[(String, Timestamp)]) -> MerchantRow {
        let apps = merchant.apps.iter().map(|key| match config.app(key.as_str()) {
            Some(app) => format!("{key} {}", app.app_id),
            None => key.to_string(),
        });
        let of = |surplus: Surplus| surplus.as_str();
        MerchantRow {
            key: merchant.key.to_string(),
            mch_id: merchant.mch_id.to_string(),
            apps: apps.collect::<Vec<_>>().join(", "),
            fingerprint: merchant.v2_key.fingerprint(),
            previous: merchant.v2_key_previous.as_ref().map(|before| (before.key.fingerprint(), before.until)),
            policy: format!("{} / {}", of(merchant.policy.paid_late), of(merchant.policy.paid_twice)),
            ends: certificates.iter().find(|(name, _)| *name == merchant.key.as_str()).map(|(_, at)| *at),
            has_certificate: merchant.client_cert_file.is_some(),
        }
    }
}

impl SettingsPage {
    fn is_own(&self, session: &ConsoleSession) -> bool {
        session.id == self.own
    }

    fn role(&self, access: &Access) -> String {
        described(access, self.frame.lang)
    }

    fn merchants_of(&self, access: &Access) -> String {
        match &access.merchants {
            None => self.frame.w.all.to_owned(),
            Some(only) => only.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", "),
        }
    }
}

/// The role, and what was granted beside it.
pub fn described(access: &Access, lang: crate::console::words::Lang) -> String {
    let grants = access.grants.iter().map(|right| format!(" + {}", words::right(*right, lang)));
    format!("{}{}", words::role(access.role, lang), grants.collect::<String>())
}
