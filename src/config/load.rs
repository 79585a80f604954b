//! The way in: three layers, read as one, with every problem at once.

use std::path::Path;
use std::sync::Arc;

use super::explain::Effective;
use super::layers;
use super::layers::{Origin, Table, Tree};
use super::problem::{Problem, Problems};
use super::reader::{Reader, Report};
use super::secrets::is_open;
use super::sections::CertificateCheck;
use super::sections::Config;
use super::{read, validate};
use crate::ids::MchId;

/// Every key with its default, explained.
pub const DEFAULTS: &str = include_str!("default.toml");

impl Config {
    /// Loads defaults ← `file` ← `env` (usually [`super::process_env`]; names that do not begin with `WXPAY__` are
    /// ignored).
    ///
    /// Reads the file and every file it names for a secret; `check_certificate` parses the merchants' certificates
    /// (usually [`crate::wechat::certificate::check`]). The error lists everything that must be mended.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
        check_certificate: CertificateCheck,
    ) -> Result<Config, Problems> {
        let (tree, mut report) = open(file, env, check_certificate)?;
        let config = read_tree(&tree, &mut report);
        finish(config, tree, report)
    }

    /// What a simulator makes certificates by, before the whole is loaded, which reads them: whether it is this
    /// configuration's, and the merchants' numbers, whatever else is wrong.
    pub fn simulated(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Option<Vec<MchId>>, Problems> {
        let (tree, _) = open(file, env, |_| Ok(None))?;
        let numbers = || validate::merchant_numbers(&tree).filter_map(|text| MchId::parse(text).ok()).collect();
        Ok(validate::has_sandbox(&tree).then(numbers))
    }

    /// The same from a text instead of a file, without any environment and without parsing certificates: relative
    /// paths count from the working directory.
    pub fn from_toml_str(text: &str) -> Result<Config, Problems> {
        let mut report = Report::default();
        let Some(tree) = read_layers(text, "configuration", std::iter::empty(), &mut report) else {
            return Err(Problems::new(report.problems));
        };
        let config = read_tree(&tree, &mut report);
        finish(config, tree, report)
    }
}

/// The tree of the three layers, not yet read.
pub(super) fn open(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    check_certificate: CertificateCheck,
) -> Result<(Table, Report), Problems> {
    let mut report = Report { check_certificate: Some(check_certificate), ..Report::default() };
    let text = match file {
        None => String::new(),
        Some(path) => {
            report.folder = path.parent().map(Path::to_owned).unwrap_or_default();
            report.is_open = is_open(path);
            std::fs::read_to_string(path).map_err(|error| {
                let text = format!("cannot be read: {error}");
                Problems::new(vec![Problem::new(path.display().to_string(), text)])
            })?
        }
    };
    let name = file.map(|path| path.display().to_string()).unwrap_or_default();
    match read_layers(&text, &name, env, &mut report) {
        Some(tree) => Ok((tree, report)),
        None => Err(Problems::new(report.problems)),
    }
}

pub(super) fn finish(config: Option<Config>, tree: Table, mut report: Report) -> Result<Config, Problems> {
    if report.is_open {
        let open = "stands in a configuration file that every user of this host can open; chmod o= it, or use a file \
                    of its own";
        let inline = std::mem::take(&mut report.inline_secrets);
        report.warnings.extend(inline.into_iter().map(|key| Problem::new(key, open)));
    }
    match config {
        Some(config) if report.problems.is_empty() => Ok(Config {
            warnings: report.warnings,
            effective: Effective(report.lines),
            tree: Tree(Arc::new(tree)),
            ..config
        }),
        Some(_) | None => Err(Problems::new(report.problems)),
    }
}

/// The layers laid on each other; none when a text is not TOML.
fn read_layers(
    text: &str,
    name: &str,
    env: impl Iterator<Item = (String, String)>,
    report: &mut Report,
) -> Option<Table> {
    let mut tree = Table::new();
    for (text, name, origin) in [(DEFAULTS, "default.toml", Origin::Default), (text, name, Origin::File)] {
        match layers::parse(text, name, &origin) {
            Ok(layer) => layers::overlay(&mut tree, layer),
            Err(problems) => report.problems.extend(problems),
        }
    }
    // A file that is not TOML says nothing about its keys: anything more would be noise.
    if !report.problems.is_empty() {
        return None;
    }
    report.problems.extend(layers::overlay_env(&mut tree, env));
    Some(tree)
}

pub(super) fn read_tree(tree: &Table, report: &mut Report) -> Option<Config> {
    let mut root = Reader::root(tree, report);
    let server = root.section("server", read::server);
    let store = root.section("store", read::store);
    let bus = root.section("bus", read::bus);
    let wechat = root.section("wechat", read::wechat);
    let orders = root.section("orders", read::orders);
    let retention = root.section("retention", read::retention);
    let reconcile = root.section("reconcile", read::reconcile);
    let web = root.section("web", read::web);
    let console = root.section("console", read::console);
    let webhooks = root.section("webhooks", read::webhooks);
    let limits = root.section("limits", read::limits);
    let log = root.section("log", read::log);
    let apps = root.entries("apps", read::app);
    let merchants = root.entries("merchants", read::merchant);
    let merchant_keys = validate::merchant_keys(tree);
    let api_keys = root.entries("api_keys", |r| read::api_key(r, &merchant_keys));
    root.finish();
    validate::unique_names(tree, report);
    validate::api_keys(tree, report);
    validate::refunds_scope(&api_keys, report);
    validate::references(tree, report);
    validate::notify_url(server.as_ref(), &merchants, report);
    validate::browser(server.as_ref(), web.as_ref(), &apps, report);
    validate::console(server.as_ref(), console.as_ref(), report);
    validate::inner_listeners(server.as_ref(), report);
    validate::spool(server.as_ref(), bus.as_ref(), store.as_ref(), report);
    validate::audit_period(store.as_ref(), retention.as_ref(), report);
    validate::published_key(&merchants, report);
    validate::hosts(wechat.as_ref(), report);
    validate::hazards(wechat.as_ref(), report);
    Some(Config {
        server: server?,
        store: store?,
        bus: bus?,
        wechat: wechat?,
        orders: orders?,
        retention: retention?,
        reconcile: reconcile?,
        web: web?,
        console: console?,
        webhooks: webhooks?,
        limits: limits?,
        log: log?,
        apps,
        merchants,
        api_keys,
        warnings: Vec::new(),
        effective: Effective(Vec::new()),
        tree: Tree(Arc::default()),
    })
}
