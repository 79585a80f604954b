//! Checks across sections: names used twice or never defined, addresses that conflict.
//!
//! Names are compared in the tree, not in the parsed entries: an entry with another problem still defines its name and
//! must not be reported as missing.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Value;

use super::address;
use super::api_key::{ApiKey, Scope};
use super::layers::{Node, Table};
use super::problem::{Problem, Problems, nearest};
use super::read::intake::IntakeKind;
use super::read::typed::Web;
use super::reader::{Report, texts};
use super::sections::{App, AppKind, Bus, Config, Console, Merchant, Server, Wechat};
use super::storage::{Retention, Store};

/// The longest `notify_url` WeChat takes, in bytes.
const NOTIFY_URL_MAX: usize = 256;

/// `retention.audit_days` where it is not set: ten years.
const AUDIT_DEFAULT: Duration = Duration::from_secs(3650 * 86_400);

/// The APIv2 key of WeChat's published signing example: every SDK's documentation prints it.
const PUBLISHED_V2_KEY: &str = "192006250b4c09247ec02edce69f6a2d";

/// Names that must be unique: a URL, a subject, an audit row or a notification must mean one entry.
pub(super) fn unique_names(tree: &Table, report: &mut Report) {
    let unique =
        [("apps", "key"), ("apps", "app_id"), ("merchants", "key"), ("merchants", "mch_id"), ("api_keys", "name")];
    for (list, key) in unique {
        let mut first: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, entry) in entries(tree, list) {
            let Some(Node::Value(Value::String(name), _)) = entry.get(key) else { continue };
            if let Some(earlier) = first.get(name.as_str()) {
                let text = format!("is the same as {list}[{earlier}].{key}: each entry needs its own");
                report.problems.push(Problem::new(format!("{list}[{i}].{key}"), text));
            } else {
                first.insert(name, i);
            }
        }
    }
}

/// Two API keys must be neither one client nor one key. A client without an `id` has its name for one.
pub(super) fn api_keys(tree: &Table, report: &mut Report) {
    let mut ids: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut hashes: BTreeMap<&str, String> = BTreeMap::new();
    for (i, entry) in entries(tree, "api_keys") {
        let own = text(entry, "id").map(|id| (id, "id")).or_else(|| Some((text(entry, "name")?, "name")));
        if let Some((id, key)) = own {
            match ids.get(id) {
                // Equal names are reported as such.
                Some((_, "name")) if key == "name" => {}
                Some((earlier, before)) => {
                    let text = format!(
                        "is the same as api_keys[{earlier}].{before}: two clients would share their \
                                        idempotency keys. Keys of one client belong in the hashes of one entry"
                    );
                    report.problems.push(Problem::new(format!("api_keys[{i}].{key}"), text));
                }
                None => {
                    ids.insert(id, (i, key));
                }
            }
        }
        let single = text(entry, "hash").map(|hash| (hash, format!("api_keys[{i}].hash")));
        let several = entries(entry, "hashes")
            .filter_map(|(j, one)| Some((text(one, "hash")?, format!("api_keys[{i}].hashes[{j}].hash"))));
        for (hash, at) in single.into_iter().chain(several) {
            if let Some(earlier) = hashes.get(hash) {
                let text = format!("is the same as {earlier}: each key belongs to one entry");
                report.problems.push(Problem::new(at, text));
            } else {
                hashes.insert(hash, at);
            }
        }
    }
}

/// A configuration that does not name the scope yet goes on without refunds, and says so.
pub(super) fn refunds_scope(keys: &[ApiKey], report: &mut Report) {
    let may = |scope| keys.iter().any(|key| key.scopes.contains(&scope));
    if may(Scope::Orders) && !may(Scope::Refunds) {
        let text = "no key has the scope refunds, so refunds answer 403: add \"refunds\" to the scopes of the keys \
                    that may request them";
        report.warnings.push(Problem::new("api_keys", text));
    }
}

/// The keys of all merchants, of those with another problem too.
pub(super) fn merchant_keys(tree: &Table) -> Vec<&str> {
    entries(tree, "merchants").filter_map(|(_, entry)| text(entry, "key")).collect()
}

/// The merchants' numbers as they stand there.
pub(super) fn merchant_numbers(tree: &Table) -> impl Iterator<Item = &str> {
    entries(tree, "merchants").filter_map(|(_, entry)| text(entry, "mch_id"))
}

/// Whether a simulator stands in for WeChat's hosts.
pub(super) fn has_sandbox(tree: &Table) -> bool {
    matches!(tree.get("wechat"), Some(Node::Table(wechat)) if text(wechat, "sandbox_url").is_some())
}

/// A spool is before a queue on NATS, in a folder of its own or beside the file of SQLite.
pub(super) fn spool(server: Option<&Server>, bus: Option<&Bus>, store: Option<&Store>, report: &mut Report) {
    let (Some(server), Some(bus), Some(store)) = (server, bus, store) else { return };
    let intake = &server.intake;
    if intake.chosen != Some(IntakeKind::Spool) {
        return;
    }
    if bus.nats().is_none() {
        let text = "is for a queue on NATS (bus.url): with the embedded queue write \"log\", or leave it out";
        report.problems.push(Problem::new("server.intake", text));
    } else if intake.spool(store.sqlite_file().as_deref()).is_none() {
        let text = "is needed with server.intake = \"spool\": a folder on a local disk that outlives the process";
        report.problems.push(Problem::new("server.intake_dir", text));
    }
}

fn text<'a>(entry: &'a Table, key: &str) -> Option<&'a str> {
    match entry.get(key) {
        Some(Node::Value(Value::String(text), _)) if !text.is_empty() => Some(text.as_str()),
        Some(_) | None => None,
    }
}

/// Names that must be defined where they are used.
pub(super) fn references(tree: &Table, report: &mut Report) {
    for (list, key, defined_in) in [("merchants", "apps", "apps"), ("api_keys", "merchants", "merchants")] {
        let defined: Vec<&str> = entries(tree, defined_in)
            .filter_map(|(_, entry)| match entry.get("key") {
                Some(Node::Value(Value::String(name), _)) => Some(name.as_str()),
                Some(_) | None => None,
            })
            .collect();
        for (i, entry) in entries(tree, list) {
            let Some(Node::Value(value, origin)) = entry.get(key) else { continue };
            // Not a name, but the word for every merchant.
            if list == "api_keys" && text(entry, key) == Some("all") {
                continue;
            }
            for (n, name) in texts(value, origin).unwrap_or_default().iter().enumerate() {
                if defined.contains(&name.as_str()) {
                    continue;
                }
                let mend = match nearest(name, defined.iter().copied()) {
                    Some(meant) => format!("did you mean {meant}?"),
                    None => format!("defined are: {}", defined.join(", ")),
                };
                let text = format!("item {} is not the key of any [[{defined_in}]] entry; {mend}", n + 1);
                report.problems.push(Problem::new(format!("{list}[{i}].{key}"), text));
            }
        }
    }
}

/// The address WeChat is given must fit its field.
pub(super) fn notify_url(server: Option<&Server>, merchants: &[Merchant], report: &mut Report) {
    let Some(server) = server else { return };
    let longest = merchants.iter().map(|m| m.key.as_str().len()).max().unwrap_or(0);
    if server.public_url.len() + "/notify//refund".len() + longest > NOTIFY_URL_MAX {
        let text = format!("is too long: with a merchant's path it exceeds the {NOTIFY_URL_MAX} bytes of notify_url");
        report.problems.push(Problem::new("server.public_url", text));
    }
}

/// The browser side needs an official account that can exchange OAuth codes, and pages that see its cookies.
pub(super) fn browser(server: Option<&Server>, web: Option<&Web>, apps: &[App], report: &mut Report) {
    if let (Some(server), Some(web)) = (server, web.filter(|web| web.session_key.is_some())) {
        seen_by_browsers(server, web, report);
    }
    // An app that could not be read has been reported: it may be the one that is missed here.
    if report.problems.iter().any(|problem| problem.key.starts_with("apps[")) {
        return;
    }
    let wanted = web.is_some_and(|web| !web.callback_origins.is_empty());
    let able = apps.iter().any(|app| app.kind == AppKind::OfficialAccount && app.secret.is_some());
    if wanted && !able {
        let text = "opens the browser side, which needs an [[apps]] entry of kind official_account with its secret or \
                    secret_file";
        report.problems.push(Problem::new("web.callback_origins", text));
    }
}

/// The console has an address of its own, and is reached over https or from this host alone.
pub(super) fn console(server: Option<&Server>, console: Option<&Console>, report: &mut Report) {
    let (Some(server), Some(console)) = (server, console.filter(|console| console.enabled)) else { return };
    let others = [Some(server.listen), server.admin_listen, server.notify_listen];
    let taken = |listen| others.contains(&Some(listen));
    if console.listen.is_some_and(|listen| listen.port() != 0 && taken(listen)) {
        let text = "is the address of another listener: leave it empty or give the console one of its own";
        report.problems.push(Problem::new("console.listen", text));
    }
    let url = console.url(server);
    if address::origin(url).is_err() {
        let text = "is empty, and server.public_url has a path, which the console's links do not have: set it to the \
                    origin at which browsers reach the console";
        report.problems.push(Problem::new("console.public_url", text));
    }
    let listen = console.listen.unwrap_or(server.listen);
    if !url.starts_with("https://") && !listen.ip().is_loopback() {
        let text = "opens the console over plain http: it refuses every request that does not come from this host, \
                    because a password would be sent readable. Make server.public_url or console.public_url https";
        report.warnings.push(Problem::new("console.enabled", text));
    } else if !listen.ip().is_loopback() && server.trusted_proxies.is_empty() {
        let text = "is empty: the console answers the proxies that are named there, and this host. Name the proxy that \
                    terminates https";
        report.warnings.push(Problem::new("server.trusted_proxies", text));
    }
}

/// Listeners that are meant for a proxy or for monitoring, at an address of the internet.
pub(super) fn inner_listeners(server: Option<&Server>, report: &mut Report) {
    let Some(server) = server else { return };
    for (key, listen, risk) in [
        ("server.admin_listen", server.admin_listen, "others read metrics and the state of the service"),
        ("server.notify_listen", server.notify_listen, "what WeChat posts, with openids, arrives readable"),
    ] {
        if listen.is_some_and(|listen| address::is_public_address(listen.ip())) {
            let text = format!(
                "is an address of the internet, and nothing is encrypted or asked for a key there: {risk}. Listen on \
                 127.0.0.1, or on an inner address behind the proxy"
            );
            report.warnings.push(Problem::new(key, text));
        }
    }
}

/// With an owner of the tables, the service may not remove rows of the audit.
pub(super) fn audit_period(store: Option<&Store>, retention: Option<&Retention>, report: &mut Report) {
    let (Some(store), Some(retention)) = (store, retention) else { return };
    if store.migrate_url.is_some() && retention.audit != AUDIT_DEFAULT {
        let text = "does nothing with store.migrate_url: the service's role may not remove rows of the audit, which \
                    stays until the owner of the tables removes it";
        report.warnings.push(Problem::new("retention.audit_days", text));
    }
}

/// What is not wrong in itself, but seldom meant.
fn seen_by_browsers(server: &Server, web: &Web, report: &mut Report) {
    let origins = &web.callback_origins;
    if !origins.is_empty() && !origins.iter().any(|origin| address::same_host(origin, &server.public_url)) {
        let text = "names no page of the host of server.public_url: the cookies of a login belong to that host alone, \
                    so that a page that checks for openId logs in for ever. Publish /api/wechat on the pages' host and \
                    make that public_url";
        report.warnings.push(Problem::new("web.callback_origins", text));
    }
    if server.trusted_proxies.is_empty() && server.public_url.starts_with("https://") {
        let text = "is empty, but public_url is https, so a proxy stands in front: all payers share its address, and \
                    thirty bad codes a minute from one stop the logins of all. Name the proxy";
        let problem = Problem::new("server.trusted_proxies", text);
        // Nothing but a proxy of this host reaches a loopback address: there is no doubt that one is not named.
        if server.listen.ip().is_loopback() { report.hazards.push(problem) } else { report.warnings.push(problem) }
    }
}

/// A published key must not sign anything for the real WeChat.
pub(super) fn published_key(merchants: &[Merchant], report: &mut Report) {
    for merchant in merchants.iter().filter(|m| m.v2_key.expose() == PUBLISHED_V2_KEY) {
        let text = format!(
            "{} has the key of WeChat's published example: its notifications can be forged. Set a key of your own in \
             the merchant platform",
            merchant.key
        );
        report.hazards.push(Problem::new("merchants.v2_key", text));
    }
}

/// Hosts of WeChat beside those of a simulator: some calls would move money and others would not.
pub(super) fn hosts(wechat: Option<&Wechat>, report: &mut Report) {
    let Some(wechat) = wechat else { return };
    let hosts = wechat.hosts();
    let names = |real: bool| {
        let named = hosts.iter().filter(|host| host.is_wechats == real);
        named.map(|host| format!("wechat.{}", host.key)).collect::<Vec<_>>().join(", ")
    };
    let (real, others) = (names(true), names(false));
    if !real.is_empty() && !others.is_empty() {
        let text = format!(
            "is a sandbox by half: {others} is not WeChat, {real} is. Set all addresses to the sandbox (or to your \
             own proxy), or none of them"
        );
        report.problems.push(Problem::new("wechat", text));
    }
}

/// What is tolerable beside a simulator stops the start where WeChat itself is called.
pub(super) fn hazards(wechat: Option<&Wechat>, report: &mut Report) {
    let is_real = wechat.is_some_and(|wechat| wechat.hosts().iter().any(|host| host.is_wechats));
    let hazards = std::mem::take(&mut report.hazards);
    if is_real { report.problems.extend(hazards) } else { report.warnings.extend(hazards) }
}

impl Config {
    /// What `wxpayd run` needs beyond a sound configuration; `migrate` does without. `check-config` reports it too.
    pub fn check_runnable(&self) -> Result<(), Problems> {
        let mut problems = Vec::new();
        if self.merchants.is_empty() {
            let text = "none is configured, and without one there is nothing to run: add a [[merchants]] entry and its \
                        [[apps]] (`wxpayd demo` brings its own)";
            problems.push(Problem::new("merchants", text));
        }
        if address::is_wechat(&self.wechat.pay_url) && !address::is_public(&self.server.public_url) {
            let text = "must be reachable from the internet, or WeChat cannot deliver notifications: set the address \
                        under which your proxy publishes this service (or point wechat.pay_url at a sandbox)";
            problems.push(Problem::new("server.public_url", text));
        }
        if problems.is_empty() { Ok(()) } else { Err(Problems::new(problems)) }
    }
}

fn entries<'a>(tree: &'a Table, list: &str) -> impl Iterator<Item = (usize, &'a Table)> {
    let entries: &[Table] = match tree.get(list) {
        Some(Node::List(entries)) => entries,
        Some(Node::Table(_) | Node::Value(..)) | None => &[],
    };
    entries.iter().enumerate()
}
