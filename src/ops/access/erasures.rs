//! The erasure of what is kept of one payer: asked for by an operator, done in steps by a job.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::sessions;
use super::sessions::{OfPayer, audited};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::ids::AppKey;
use crate::ops::operator::{Operator, Page};
use crate::store::{DbError, Erasure, Scope, Stepped, Store};

/// Erasures that one run goes on with.
const PER_RUN: u64 = 4;
/// How long one run goes on.
const RUN: Duration = Duration::from_secs(30);

/// WeChat's openids have 28 characters. What is shorter is none, and may be a number of the business's by mistake.
const OPENID_LEAST: usize = 20;

/// The apps all of whose merchants the operator sees: what is erased of a payer may be any of theirs.
pub fn apps<'c>(config: &'c Config, operator: &Operator) -> Vec<&'c AppKey> {
    let mut apps = sessions::apps(config, operator);
    apps.retain(|app| config.merchants.iter().all(|m| operator.sees(&m.key) || !m.apps.contains(*app)));
    apps
}

/// An erasure that the operator may see.
pub async fn get((store, config): (&Store, &Config), operator: &Operator, id: i64) -> Result<Option<Erasure>, DbError> {
    let found = store.erasure(id).await?;
    Ok(found.filter(|of| operator.merchants.is_none() || apps(config, operator).contains(&&of.app)))
}

/// Up to `limit` erasures that the operator may see, newest first, older than `before`.
pub async fn list(
    (store, config): (&Store, &Config),
    operator: &Operator,
    (before, limit): (Option<i64>, u64),
) -> Result<Page<Erasure, i64>, DbError> {
    let apps = operator.merchants.is_some().then(|| apps(config, operator));
    let (rows, next) = store.erasures(apps.as_deref(), before, limit).await?;
    Ok(Page { rows, next })
}

/// Asks for an erasure, and ends the payer's sessions. One that is under way begins anew. None where no such payer is
/// known under the app.
pub async fn ask(
    (store, config): (&Store, &Config),
    operator: &Operator,
    request: OfPayer,
    now: Timestamp,
) -> Result<Option<Erasure>, DbError> {
    let OfPayer { app, openid, .. } = &request;
    if openid.as_str().len() < OPENID_LEAST {
        return Ok(None);
    }
    let Some(scope) = scope(config, app) else { return Ok(None) };
    let audit = audited(store, operator, "payer.erase", &request, now).await?;
    store.ask_erasure((app, openid), &scope, &audit).await
}

/// Whether anything is kept of the payer under the app.
pub async fn is_known((store, config): (&Store, &Config), of: &OfPayer, now: Timestamp) -> Result<bool, DbError> {
    let Some(scope) = scope(config, &of.app) else { return Ok(false) };
    store.is_payer_known(&of.app, &of.openid, &scope, now).await
}

/// Under which names the app and its merchants keep what is of a payer.
fn scope(config: &Config, app: &AppKey) -> Option<Scope> {
    let of_app = config.apps.iter().find(|known| known.key == *app)?;
    let merchants = config.merchants.iter().filter(|merchant| merchant.apps.contains(app));
    Some(Scope {
        appid: of_app.app_id.as_str().to_owned(),
        merchants: merchants.map(|merchant| merchant.key.as_str().to_owned()).collect(),
    })
}

/// Goes on with erasures that are due; answers how many came to their end or to something that they wait for. One whose
/// step fails is put off, and keeps none of the others.
pub async fn go_on(store: &Store, clock: &Clock, cancel: &CancellationToken) -> Result<u64, DbError> {
    let (begun, mut count) = (Instant::now(), 0);
    for mut erasure in store.due_erasures(clock.now(), PER_RUN).await? {
        loop {
            if cancel.is_cancelled() || begun.elapsed() > RUN {
                return Ok(count);
            }
            match store.step_erasure(&mut erasure, clock.now()).await {
                Ok(Stepped::On) => {}
                Ok(Stepped::Over) => {
                    count += 1;
                    break;
                }
                Ok(Stepped::Elsewhere) => break,
                Err(error) => {
                    let error = error.to_string();
                    store.put_off_erasure(&erasure, &error, clock.now()).await?;
                    tracing::error!(erasure = erasure.id, "A step of an erasure failed, and is done again later");
                    break;
                }
            }
        }
    }
    Ok(count)
}

/// Puts the payers' names in the place of the openids in the evidence of the version before, in steps; answers how many
/// rows there are, and how many of them had one.
pub async fn hide_payers(store: &Store, operator: &Operator, reason: String) -> Result<(u64, u64), DbError> {
    let now = store.db().now().await?;
    store.record_audit(&operator.audit("evidence.hide_payers", reason, now)).await?;
    let (mut read, mut changed, mut after) = (0, 0, Some(0));
    while let Some(last) = after {
        let step = store.hide_payers(last).await?;
        read += step.read;
        changed += step.changed;
        after = step.next;
    }
    Ok((read, changed))
}
