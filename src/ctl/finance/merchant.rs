//! Which merchant is meant where none is named.

use std::collections::BTreeSet;

use crate::ctl::client::Api;
use crate::ctl::exit::{Exit, Failure};

/// The usual name of the first one.
const MAIN: &str = "main";
/// A sheet of days has a row for each merchant that the key sees: of a day without any money it costs nothing.
const NO_MONEY: &str = "2000-01-01";

/// The merchant that is named, or the only one that the key sees. Where there are several, `main` is meant.
pub async fn merchant(api: &Api, named: Option<String>) -> Result<String, Failure> {
    if let Some(named) = named {
        return Ok(named);
    }
    let span = ["from", "to"].map(|name| (name, Some(NO_MONEY.to_owned())));
    // What is wrong with the service or the key, the command itself says.
    let Ok(sheet) = api.get("/v1/reports/daily", &span).await else { return Ok(MAIN.to_owned()) };
    let rows = sheet["days"].as_array().into_iter().flatten();
    let seen: BTreeSet<&str> = rows.filter_map(|row| row["merchant"].as_str()).collect();
    match (seen.first(), seen.len()) {
        (Some(only), 1) => Ok((*only).to_owned()),
        (Some(_), _) if !seen.contains(MAIN) => {
            let names = seen.iter().copied().collect::<Vec<_>>().join(", ");
            Err(Failure::new(Exit::Usage, format!("which merchant? --merchant, one of {names}")))
        }
        _ => Ok(MAIN.to_owned()),
    }
}
