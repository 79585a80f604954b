//! The API keys of the file and of the database, and `POST /console/settings/keys/{id}/revoke`.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};

use super::words::SettingsWords;
use crate::clock::Timestamp;
use crate::config::Merchants;
use crate::console::fault::Fault;
use crate::console::flash;
use crate::console::form::Posted;
use crate::console::links;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::money::yuan;
use crate::console::ui::reason;
use crate::console::viewer::Viewer;
use crate::http::extract::cursor;
use crate::ops;
use crate::ops::keys::{HashView, KeySource, KeyView};
use crate::store::Right;

const PATH: &str = "/console/settings";
/// Keys of the database on one page.
const LIMIT: u64 = 50;

/// A key as a row.
pub struct KeyRow {
    /// Where its revocation is posted.
    pub revoke: String,
    pub name: String,
    pub is_of_file: bool,
    pub scopes: String,
    /// Empty for all.
    pub merchants: String,
    pub cap: String,
    pub created: Option<(Timestamp, String)>,
    pub last_used: Option<Timestamp>,
    /// When the last of its hashes ends, where all do.
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
    /// The begin of each hash, and when it ends.
    pub hashes: Vec<(String, Option<Timestamp>)>,
}

/// The keys that the viewer may see, and the address of the next page.
pub async fn shown(app: &Console, viewer: &Viewer, filters: &Filters) -> Result<(Vec<KeyRow>, Option<String>), Fault> {
    let before = filters.get("after").and_then(|text| cursor::read('k', text).ok());
    let found = ops::keys::list(&app.store, &app.config, &viewer.operator(), (before, LIMIT)).await?;
    let older = found.next.map(|seq| format!("{}#api-keys", filters.with(PATH, "after", &cursor::write('k', seq))));
    Ok((found.rows.iter().map(KeyRow::new).collect(), older))
}

impl KeyRow {
    fn new(key: &KeyView) -> KeyRow {
        let merchants = match &key.merchants {
            Merchants::All => String::new(),
            Merchants::Only(only) => only.iter().map(|key| key.as_str()).collect::<Vec<_>>().join(", "),
        };
        let all = |time: fn(&HashView) -> Option<Timestamp>| {
            let times = key.hashes.iter().map(time).collect::<Option<Vec<_>>>()?;
            times.into_iter().max()
        };
        KeyRow {
            revoke: links::revocation(&key.id),
            name: key.name.clone(),
            is_of_file: key.source == KeySource::File,
            scopes: key.scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", "),
            merchants,
            cap: key.refund_cap_per_day.map_or("–".to_owned(), |cap| yuan(cap.as_i64())),
            created: key.created_at.map(|at| (at, key.created_by.clone().unwrap_or_default())),
            last_used: key.hashes.iter().filter_map(|hash| hash.last_used_at).max(),
            expires: all(|hash| hash.until),
            // A client ends with the last of its keys.
            revoked: all(|hash| hash.revoked.as_ref().map(|revoked| revoked.at)),
            hashes: key.hashes.iter().map(|hash| (hash.sha256.chars().take(12).collect(), hash.until)).collect(),
        }
    }
}

/// Ends a key at once, in this process when it answers and in the others within seconds.
pub async fn revoke(
    app: Console,
    Path(id): Path<String>,
    Posted { viewer, fields }: Posted,
) -> Result<Response, Fault> {
    viewer.require(Right::Admin)?;
    let t = SettingsWords::of(app.lang);
    let reason = match reason::check(fields.get("reason"), app.lang) {
        Ok(reason) => reason,
        Err(problem) => return Ok(flash::redirect(app.shared.jar, PATH, problem).into_response()),
    };
    let by = viewer.operator();
    let revoked = ops::keys::revoke(&app.store, &app.config, &by, (&id, &reason), app.clock.now()).await?;
    revoked.ok_or(Fault::NotFound)?;
    if let Err(e) = app.keys.refresh().await {
        tracing::warn!(error = %e, "The changed API keys could not be read: they are read again in two seconds");
    }
    Ok(flash::redirect(app.shared.jar, PATH, t.revoked_now))
}
