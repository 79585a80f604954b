//! The text of a configuration: `default.toml` with another header, the lines that differ, and its entries.

use super::kind::Kind;
use crate::config::{CHANGE_ME, DEFAULTS, SANDBOX_FOLDER};

/// The numbers of WeChat's public examples, which the simulator knows.
pub(super) const SANDBOX_MCH_ID: &str = "10000100";
const SANDBOX_APP_ID: &str = "wxd930ea5d5a258f4f";

/// A configuration of this kind without the hash of an API key.
pub fn example(kind: Kind) -> String {
    configuration(kind, CHANGE_ME)
}

/// The same with the hash of an API key.
pub(super) fn configuration(kind: Kind, key_hash: &str) -> String {
    let mut text = header(kind);
    for paragraph in DEFAULTS.trim_end().split("\n\n").skip(1) {
        text.push('\n');
        text.push_str(&section(kind, paragraph));
        text.push('\n');
        let entry = match paragraph.split_once([':', '.']).map(|(title, _)| title) {
            Some("# Apps") => app(kind),
            Some("# Merchants") => merchant(kind),
            Some("# API keys of the business API") => api_key(key_hash),
            Some(_) | None => continue,
        };
        text.push('\n');
        text.push_str(&entry);
    }
    text
}

fn header(kind: Kind) -> String {
    let mut text = format!("# wxpay-worker on {}.\n#\n", kind.described());
    text.push_str(
        "# Every key is here with its meaning. Each can be set by environment: WXPAY__SERVER__LISTEN=0.0.0.0:8080,\n\
         # WXPAY__MERCHANTS__0__MCH_ID=10000100. A secret `x` is read from the file `x_file`, relative to this file's\n\
         # folder. `wxpayd check-config --config FILE` prints every problem, and the values in force.\n",
    );
    if kind.is_real() {
        text.push_str(&format!(
            "# Where {CHANGE_ME} stands, here or in a file of secrets/, only you know the value: see the end.\n"
        ));
    }
    text
}

/// A section with its changed lines; anything else is as it was.
fn section(kind: Kind, paragraph: &str) -> String {
    let name = paragraph.lines().next().and_then(|line| line.strip_prefix('[')?.strip_suffix(']'));
    let Some(name) = name else { return paragraph.to_owned() };
    let changes = changes(kind);
    let lines = paragraph.lines().map(|line| {
        let key = line.split_once(" = ").map(|(key, _)| key);
        let change = changes.iter().find(|(section, changed, _)| *section == name && key == Some(*changed));
        change.map_or(line, |(_, _, to)| to.as_str())
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Section, key, and the line that takes its place.
fn changes(kind: Kind) -> Vec<(&'static str, &'static str, String)> {
    let mut changes = vec![
        ("web", "session_key_file", "session_key_file = \"secrets/session.key\"".to_owned()),
        ("store", "payer_key_file", "payer_key_file = \"secrets/payers.key\"".to_owned()),
        ("webhooks", "key_file", "key_file = \"secrets/webhooks.key\"".to_owned()),
    ];
    match kind {
        Kind::Sandbox => changes.extend([
            ("wechat", "sandbox_url", "sandbox_url = \"http://127.0.0.1:19001\"".to_owned()),
            ("console", "enabled", "enabled = true".to_owned()),
            // Not beside `sandbox_url`.
            ("wechat", "pay_url", "# pay_url = \"https://api.mch.weixin.qq.com\"".to_owned()),
            ("wechat", "pay_backup_url", "# pay_backup_url = \"https://api2.mch.weixin.qq.com\"".to_owned()),
            ("wechat", "api_url", "# api_url = \"https://api.weixin.qq.com\"".to_owned()),
            ("wechat", "open_url", "# open_url = \"https://open.weixin.qq.com\"".to_owned()),
        ]),
        Kind::Wechat | Kind::NatsPostgres => changes.extend([
            ("server", "admin_listen", "admin_listen = \"127.0.0.1:9090\"".to_owned()),
            ("server", "notify_listen", "notify_listen = \"127.0.0.1:8081\"".to_owned()),
            ("server", "public_url", format!("public_url = \"{CHANGE_ME}\"")),
            // The proxy that terminates https, on this host.
            ("server", "trusted_proxies", "trusted_proxies = [\"127.0.0.1\"]".to_owned()),
        ]),
    }
    if kind == Kind::NatsPostgres {
        changes.extend([
            ("store", "url", "url_file = \"secrets/store_url\"".to_owned()),
            ("store", "migrate_url_file", "migrate_url_file = \"secrets/migrate_url\"".to_owned()),
            ("bus", "url", "url_file = \"secrets/bus_url\"".to_owned()),
            ("bus", "monitoring_urls", "monitoring_urls = [\"http://127.0.0.1:8222\"]".to_owned()),
        ]);
    }
    changes
}

fn app(kind: Kind) -> String {
    let (app_id, hint) = match kind.is_real() {
        true => (CHANGE_ME, "          # the AppID, as the platform shows it (mp.weixin.qq.com)"),
        false => (SANDBOX_APP_ID, ""),
    };
    format!(
        "[[apps]]\nkey = \"shop\"\napp_id = \"{app_id}\"{hint}\nkind = \"official_account\"\n\
         secret_file = \"secrets/shop.secret\"\n"
    )
}

fn merchant(kind: Kind) -> String {
    let (mch_id, hint, folder) = match kind.is_real() {
        true => (CHANGE_ME, "          # the merchant's number, as pay.weixin.qq.com shows it", "secrets"),
        false => (SANDBOX_MCH_ID, "", SANDBOX_FOLDER),
    };
    format!(
        "[[merchants]]\nkey = \"main\"\nmch_id = \"{mch_id}\"{hint}\napps = [\"shop\"]\napi = \"v2\"\n\
         sign_type = \"HMAC-SHA256\"\nv2_key_file = \"secrets/main.v2key\"\n\
         client_cert_file = \"{folder}/apiclient_cert.pem\"\nclient_key_file = \"{folder}/apiclient_key.pem\"\n"
    )
}

fn api_key(hash: &str) -> String {
    format!(
        "[[api_keys]]\nname = \"shop-backend\"\nid = \"shop-backend\"\nhash = \"{hash}\"\n\
         scopes = [\"orders\", \"refunds\", \"finance\", \"ops\"]\n"
    )
}
