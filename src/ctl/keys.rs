//! `keys`: API keys. The service holds only their hashes.

use std::io::{IsTerminal, stdout};

use serde_json::{Map, Value, json};

use super::args::KeysCommand;
use super::args_page::Page;
use super::client::{Api, part};
use super::exit::{Exit, Failure};
use super::output::{Column, Printer};
use crate::secret::{random_text, sha256_hex};

const PATH: &str = "/v1/ops/keys";
/// About 190 bits.
const KEY_CHARACTERS: usize = 32;
const KEYS: &[Column] = &[
    ("ID", "/id"),
    ("CLIENT", "/client"),
    ("NAME", "/name"),
    ("SOURCE", "/source"),
    ("SCOPES", "/scopes"),
    ("MERCHANTS", "/merchants"),
    ("EXPIRES", "/expires_at"),
    ("LAST USED", "/last_used_at"),
    ("REVOKED", "/revoked_at"),
];

pub async fn run(
    command: KeysCommand,
    api: impl FnOnce() -> Result<Api, Failure>,
    out: &mut Printer,
) -> Result<Exit, Failure> {
    match command {
        KeysCommand::New { name, scopes, remote: false, .. } => local(&name, &scopes, out),
        KeysCommand::New { name, scopes, merchants, client, expires, reason, .. } => {
            let mut body = Map::new();
            body.insert("name".into(), name.into());
            body.insert("scopes".into(), scopes.into());
            if merchants.iter().any(|merchant| merchant == "all") {
                body.insert("merchants".into(), "all".into());
            } else if !merchants.is_empty() {
                body.insert("merchants".into(), merchants.into());
            }
            body.extend(client.map(|client| ("client".to_owned(), client.into())));
            body.extend(expires.map(|expires| ("expires_at".to_owned(), expires.into())));
            body.extend(reason.map(|reason| ("reason".to_owned(), reason.into())));
            remote(&api()?.post(PATH, &Value::Object(body)).await?, out)
        }
        KeysCommand::List { page } => list(&api()?, page, out).await,
        KeysCommand::Revoke { id, reason, yes } => {
            if !yes {
                return Err(Failure::new(Exit::Refused, "a revoked key is never accepted again: add --yes"));
            }
            let revoked = api()?.post(&format!("{PATH}/{}/revoke", part(&id)), &json!({"reason": reason})).await?;
            if out.is_json() {
                out.json(&revoked)?
            } else {
                out.record(&revoked, KEYS)?
            }
            Ok(Exit::Ok)
        }
    }
}

async fn list(api: &Api, page: Page, out: &mut Printer) -> Result<Exit, Failure> {
    let parameters = [("limit", page.limit.map(|limit| limit.to_string())), ("after", page.after)];
    let keys = api.get(PATH, &parameters).await?;
    if out.is_json() {
        out.json(&keys)?;
        return Ok(Exit::Ok);
    }
    out.table(keys["keys"].as_array().map(Vec::as_slice).unwrap_or_default(), KEYS, "no API keys")?;
    if let Some(next) = keys["next"].as_str() {
        out.note(&format!("more: --after {next}"));
    }
    Ok(Exit::Ok)
}

fn remote(made: &Value, out: &mut Printer) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(made)?;
        return Ok(Exit::Ok);
    }
    // Piped into a file, the key is alone in it.
    out.line(made["key"].as_str().unwrap_or_default())?;
    let id = made["id"].as_str().unwrap_or_default();
    out.note(&format!("The key is not shown again. To end it: wxpayctl keys revoke {id} --reason … --yes"));
    Ok(Exit::Ok)
}

fn local(name: &str, scopes: &[String], out: &mut Printer) -> Result<Exit, Failure> {
    let key = random_text(KEY_CHARACTERS);
    let hash = format!("sha256:{}", sha256_hex(key.as_bytes()));
    if out.is_json() {
        out.json(&json!({"key": key, "hash": hash}))?;
        return Ok(Exit::Ok);
    }
    // Piped into a file, the key is alone in it.
    out.line(&key)?;
    if stdout().is_terminal() {
        out.note("\nThe key is not shown again. For the service's configuration, then `systemctl reload wxpayd`:\n");
    }
    let scopes: Vec<String> = scopes.iter().map(|scope| format!("\"{scope}\"")).collect();
    let scopes = scopes.join(", ");
    out.note(&format!("[[api_keys]]\nname = {name:?}\nhash = \"{hash}\"\nscopes = [{scopes}]"));
    out.note("# Where several merchants are configured: merchants = [\"main\"], or \"all\".");
    Ok(Exit::Ok)
}
