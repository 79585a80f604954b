//! Asking for a day.

use crate::clock::{Clock, Timestamp};
use crate::ids::MerchantKey;
use crate::ops::Operator;
use crate::reconcile::oldest;
use crate::store::{AuditEntry, DbError, Reconciliation, Store};
use crate::wechat::v2::bill::BillDay;

/// What asking came to.
#[derive(Debug, Clone)]
pub struct Asked {
    pub day: Reconciliation,
    /// Whether it was not asked for already.
    pub is_new: bool,
}

/// Why a day cannot be asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// In words of the field.
    #[error("{0}")]
    Day(&'static str),
    /// WeChat keeps bills for three months: the result stays as it is.
    #[error("WeChat keeps bills for three months: it has those of {oldest} and later days")]
    NotKept { oldest: String },
    #[error(transparent)]
    Store(#[from] DbError),
}

/// Asks for a day of a merchant. However often it is asked for, it is run once; a day that is over and was compared
/// before is compared anew.
pub async fn ask(
    (store, clock): (&Store, &Clock),
    operator: &Operator,
    merchant: &MerchantKey,
    day: BillDay,
) -> Result<Asked, AskError> {
    let now = clock.now();
    if day.ends_at() > now {
        return Err(AskError::Day("is not over: WeChat has its bill at ten in the morning of the next day"));
    }
    if day < oldest(now) {
        return Err(AskError::NotKept { oldest: oldest(now).to_string() });
    }
    let name = day.to_string();
    let is_new = store.ask_reconciliation(merchant, &name, Some(&operator.name), now).await?;
    if is_new {
        let audit = AuditEntry {
            merchant: Some(merchant.clone()),
            subject: Some(format!("reconciliation:{name}")),
            result: "asked".to_owned(),
            ..operator.audit("reconciliation.run", String::new(), now)
        };
        store.record_audit(&audit).await?;
    }
    let found = store.reconciliation(merchant, &name).await?;
    let day = found.ok_or_else(|| DbError::Defect("a day that was asked for is not there".into()))?;
    Ok(Asked { day, is_new })
}

/// Whether WeChat still has the bill of a day.
pub(super) fn is_kept(day: &str, now: Timestamp) -> bool {
    BillDay::parse(day).is_ok_and(|day| day >= oldest(now))
}
