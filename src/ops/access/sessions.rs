//! Sessions of payers: ended by an operator, as the payer's own logout ends them.

use crate::clock::Timestamp;
use crate::ids::{AppKey, OpenId};
use crate::ops::operator::Operator;
use crate::secret::sha256_hex;
use crate::store::{AuditEntry, DbError, Store};

/// Hex digits by which the audit names a payer: enough to find one again, and no openid.
const PAYER_DIGITS: usize = 12;

/// Which payer, and why.
#[derive(Debug)]
pub struct OfPayer {
    pub app: AppKey,
    pub openid: OpenId,
    pub reason: String,
}

/// Ends every session of the payer that began until now, on all devices and in all processes.
pub async fn end(store: &Store, operator: &Operator, request: OfPayer, now: Timestamp) -> Result<(), DbError> {
    let audit = audited(operator, "sessions.end", &request, now);
    store.end_sessions_audited(&request.app, &request.openid, &audit).await
}

/// The audit's row of something done to a payer.
pub(super) fn audited(operator: &Operator, action: &'static str, request: &OfPayer, now: Timestamp) -> AuditEntry {
    let OfPayer { app, openid, reason } = request;
    let payer = sha256_hex(openid.as_str().as_bytes());
    let payer = payer.get(..PAYER_DIGITS).unwrap_or_default();
    AuditEntry { subject: Some(format!("payer:{app}:{payer}")), ..operator.audit(action, reason.clone(), now) }
}
