//! `keys`: API keys. The service holds only their hashes.

use std::io::{IsTerminal, stdout};

use serde_json::json;

use super::args::KeysCommand;
use super::exit::{Exit, Failure};
use super::output::Printer;
use crate::secret::{random_text, sha256_hex};

/// About 190 bits.
const KEY_CHARACTERS: usize = 32;

pub fn run(command: &KeysCommand, out: &mut Printer) -> Result<Exit, Failure> {
    let KeysCommand::New { name, scopes } = command;
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
