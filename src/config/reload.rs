//! A configuration that is read anew while the process runs: all of it or nothing.
//!
//! What is used once, at the start (listeners, connections, clients), keeps its value until a restart and is named.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use super::explain::Line;
use super::layers::{Node, Table, Tree};
use super::load;
use super::problem::Problems;
use super::reader::Report;
use super::sections::{CertificateCheck, Config, Server};
use crate::clock::Timestamp;

/// Sections that are used at the start alone.
const AT_START: &[&str] = &["store", "bus", "wechat", "log"];
/// Keys of other sections that are.
const KEYS_AT_START: &[(&str, &[&str])] = &[
    (
        "server",
        &[
            "listen",
            "admin_listen",
            "notify_listen",
            "public_url",
            "max_connections",
            "max_connections_per_address",
            "header_timeout_ms",
            "idle_timeout_ms",
            "shutdown_timeout_ms",
            "intake",
            "intake_dir",
        ],
    ),
    (
        "web",
        &[
            "session_key",
            "session_key_file",
            "session_key_previous",
            "session_key_previous_file",
            "callback_origins",
            "session_hours",
        ],
    ),
    ("console", &["enabled", "listen", "public_url"]),
    ("webhooks", &["key", "key_file"]),
];

/// A configuration read anew, beside the one in force.
#[derive(Debug)]
pub struct Reload {
    /// What to put in force: what only a restart changes is still as it was.
    pub config: Config,
    /// Keys whose values changed and take effect, as `merchants[0].v2_key_file`.
    pub changed: Vec<String>,
    /// Keys whose values changed and take effect after a restart.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// Reads the layers anew as [`Config::load`] does. An error when the process would not start with them, or when
    /// what takes effect does not go together with what takes effect after a restart.
    pub fn reload(
        &self,
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        check_certificate: CertificateCheck,
    ) -> Result<Reload, Problems> {
        let (tree, mut report) = load::open(file, env, check_certificate)?;
        let again = Report {
            folder: report.folder.clone(),
            is_open: report.is_open,
            check_certificate: report.check_certificate,
            ..Report::default()
        };
        let config = load::read_tree(&tree, &mut report);
        let read = load::finish(config, tree.clone(), report)?;
        read.check_runnable()?;
        let names = different(&self.effective.0, &read.effective.0);
        let (needs_restart, changed) = names.into_iter().partition(|name| is_at_start(name));
        let config = self.beside(read, tree, again)?;
        config.check_runnable()?;
        Ok(Reload { config, changed, needs_restart })
    }

    /// What was read, with this configuration's values of what is used at the start.
    fn beside(&self, read: Config, mut tree: Table, mut report: Report) -> Result<Config, Problems> {
        keep(&mut tree, &self.tree.0);
        // Read once more for the rules that concern several sections. The files of secrets that are used at the start
        // may be elsewhere by now.
        load::read_tree(&tree, &mut report);
        report.problems.retain(|problem| !(problem.key.ends_with("_file") && is_at_start(&problem.key)));
        if !report.problems.is_empty() {
            return Err(Problems::new(report.problems));
        }
        let mut config = read;
        config.store = self.store.clone();
        config.bus = self.bus.clone();
        config.wechat = self.wechat.clone();
        config.log = self.log.clone();
        config.server = Server {
            trusted_proxies: config.server.trusted_proxies,
            body_timeout: config.server.body_timeout,
            order_wait: config.server.order_wait,
            notify_ack_timeout: config.server.notify_ack_timeout,
            ..self.server.clone()
        };
        config.console.enabled = self.console.enabled;
        config.console.listen = self.console.listen;
        config.console.public_url = self.console.public_url.clone();
        config.webhooks.key = self.webhooks.key.clone();
        config.web.session_key = self.web.session_key.clone();
        config.web.session_key_previous = self.web.session_key_previous.clone();
        config.web.callback_origins = self.web.callback_origins.clone();
        config.web.session_lifetime = self.web.session_lifetime;
        config.effective.0.retain(|line| !is_at_start(&line.name()));
        config.effective.0.extend(self.effective.0.iter().filter(|line| is_at_start(&line.name())).cloned());
        config.effective.0.sort_by_key(|line| (line.path.clone(), line.key.clone()));
        config.tree = Tree(Arc::new(tree));
        Ok(config)
    }
}

/// The names of the keys that hold something else, or are there in one only.
fn different(one: &[Line], other: &[Line]) -> BTreeSet<String> {
    let all = |lines: &[Line]| lines.iter().map(|line| (line.name(), line.content.clone())).collect::<BTreeSet<_>>();
    all(one).symmetric_difference(&all(other)).map(|(name, _)| name.clone()).collect()
}

fn is_at_start(name: &str) -> bool {
    let Some((section, key)) = name.split_once('.') else { return false };
    AT_START.contains(&section) || keys_at_start(section).contains(&key)
}

fn keys_at_start(section: &str) -> &'static [&'static str] {
    KEYS_AT_START.iter().find(|(of, _)| *of == section).map_or(&[], |(_, keys)| *keys)
}

/// Puts the values of what is used at the start from `before` into `tree`.
fn keep(tree: &mut Table, before: &Table) {
    for section in AT_START {
        if let Some(node) = before.get(*section) {
            tree.insert((*section).to_owned(), node.clone());
        }
    }
    for (section, keys) in KEYS_AT_START {
        let (Some(Node::Table(new)), Some(Node::Table(old))) = (tree.get_mut(*section), before.get(*section)) else {
            continue;
        };
        for key in *keys {
            match old.get(*key) {
                Some(node) => new.insert((*key).to_owned(), node.clone()),
                None => new.remove(*key),
            };
        }
    }
}

/// How the last reading of the file ended.
#[derive(Debug, Clone)]
pub struct ReloadOutcome {
    pub at: Timestamp,
    /// Why the configuration of before stayed in force; none when the new one took effect.
    pub refused: Option<String>,
    /// Keys that take effect after a restart.
    pub needs_restart: Vec<String>,
}

/// The configuration in force. Clones share it.
///
/// What must stay true: each request, delivery and run takes one snapshot when it begins and works on nothing else, so
/// that it never sees half of one configuration and half of another.
#[derive(Debug, Clone)]
pub struct ConfigHandle(Arc<RwLock<InForce>>);

#[derive(Debug)]
struct InForce {
    config: Arc<Config>,
    reloaded: Option<ReloadOutcome>,
}

impl ConfigHandle {
    /// Puts a configuration in force.
    pub fn new(config: Config) -> ConfigHandle {
        ConfigHandle(Arc::new(RwLock::new(InForce { config: Arc::new(config), reloaded: None })))
    }

    /// The configuration as it is now.
    pub fn snapshot(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// Puts another configuration in force: for what begins from now on.
    pub fn replace(&self, config: Config) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).config = Arc::new(config);
    }

    /// Notes how reading the file anew ended.
    pub fn note_reload(&self, outcome: ReloadOutcome) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).reloaded = Some(outcome);
    }

    /// How the last reading of the file ended; none before the first.
    pub fn last_reload(&self) -> Option<ReloadOutcome> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).reloaded.clone()
    }
}
