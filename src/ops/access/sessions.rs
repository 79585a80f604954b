//! Sessions of payers: ended by an operator, as the payer's own logout ends them.

use crate::clock::Timestamp;
use crate::config::{App, Config};
use crate::ids::{AppKey, OpenId};
use crate::ops::operator::Operator;
use crate::store::{AuditEntry, DbError, Store};

/// Which payer, and why.
#[derive(Debug)]
pub struct OfPayer {
    pub app: AppKey,
    pub openid: OpenId,
    pub reason: String,
}

/// The apps of the merchants that the operator sees.
pub fn apps<'c>(config: &'c Config, operator: &Operator) -> Vec<&'c AppKey> {
    let of_seen = |app: &&App| config.merchants.iter().any(|m| operator.sees(&m.key) && m.apps.contains(&app.key));
    config.apps.iter().filter(of_seen).map(|app| &app.key).collect()
}

/// Ends every session of the payer that began until now, on all devices and in all processes.
pub async fn end(store: &Store, operator: &Operator, request: OfPayer, now: Timestamp) -> Result<(), DbError> {
    let audit = audited(store, operator, "sessions.end", &request, now).await?;
    store.end_sessions_audited(&request.app, &request.openid, &audit).await
}

/// The audit's row of something done to a payer, who has the keyed name in it: a plain hash would say who it is to all
/// who have openids to compare it with.
pub(super) async fn audited(
    store: &Store,
    operator: &Operator,
    action: &'static str,
    request: &OfPayer,
    now: Timestamp,
) -> Result<AuditEntry, DbError> {
    let OfPayer { app, openid, reason } = request;
    let payer = store.payer_name(openid).await?;
    let subject = Some(format!("payer:{app}:{payer}"));
    Ok(AuditEntry { subject, ..operator.audit(action, reason.clone(), now) })
}
