//! What of a merchant is announced as degraded, when that begins and when it ends.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::probe::digest;
use crate::clock::Timestamp;
use crate::config::{Config, Merchant};
use crate::event::fact::WechatError;
use crate::ids::MerchantKey;
use crate::store::{Again, DbError, Degradation, FaultScope, Part, ProbeClaim, Store, StoredFault};
use crate::wechat::setup_fault::SetupFault;

/// The pause between two probes of what is degraded.
pub const PROBE_EVERY: Duration = Duration::from_secs(60);
/// What no probe shows ends when it was not refused for so long.
const UNSEEN: Duration = Duration::from_secs(24 * 3600);
/// A process reads anew what is degraded when it read it so long ago.
const READ_EVERY: Duration = Duration::from_secs(5);

/// An app or a trade type that is refused one time and accepted another begins again so long after it ended.
const BEGINS_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// What WeChat refuses an app or a trade type for.
pub const PERMISSION: &str = "permission";

/// An app or a trade type alone is refused. One line and one event, however many processes find it; `true` where this
/// begins it.
pub async fn degraded(
    store: &Store,
    (config, merchant): (&Config, &Merchant),
    (part, reason, check): (Part, &str, &str),
    said: &WechatError,
    now: Timestamp,
) -> Result<bool, DbError> {
    let found = Degradation {
        merchant: merchant.key.clone(),
        part,
        reason: reason.to_owned(),
        check: check.to_owned(),
        said: Some(said.clone()),
        setup: digest(config, merchant),
        since: now,
        seen_at: now,
        next_probe_at: now.after(PROBE_EVERY),
    };
    let begun = store.begin_degradation(&found, Again::EndedBy(now.before(BEGINS_AGAIN_AFTER))).await?;
    if begun {
        tracing::error!(
            merchant = %merchant.key, what = found.part.to_text(), reason, check, code = said.code,
            said = said.message, "WeChat refuses a part of the merchant's orders"
        );
    }
    Ok(begun)
}

/// Whether what has recovered lately and is refused again may be probed now: one process in a minute.
pub async fn may_probe(
    store: &Store,
    (config, merchant): (&Config, &Merchant),
    part: &Part,
    now: Timestamp,
) -> Result<bool, DbError> {
    let ended_after = now.before(BEGINS_AGAIN_AFTER);
    let claim = ProbeClaim { setup: digest(config, merchant), ended_after, now, every: PROBE_EVERY };
    Ok(store.claim_probe(&merchant.key, part, claim).await? != Some(false))
}

/// It works again.
pub async fn recovered(store: &Store, ended: &Degradation, by: &'static str, now: Timestamp) -> Result<(), DbError> {
    if store.end_degradation(ended, now).await? {
        tracing::info!(
            merchant = %ended.merchant, what = ended.part.to_text(), reason = ended.reason, since = %ended.since, by,
            "The merchant is no longer degraded"
        );
    }
    Ok(())
}

/// The merchant or the app is no longer configured.
pub async fn removed(store: &Store, of: &Degradation, now: Timestamp) -> Result<(), DbError> {
    if store.remove_degradation(of, now).await? {
        tracing::info!(
            merchant = %of.merchant, what = of.part.to_text(), reason = of.reason, since = %of.since,
            "What is degraded is no longer configured"
        );
    }
    Ok(())
}

/// Announces the faults that there are, and the end of those that there are no more: also those that a process of an
/// older version found or ended.
pub async fn announce(store: &Store, config: &Config, merchant: &Merchant, now: Timestamp) -> Result<(), DbError> {
    let faults = store.setup_faults().await?;
    for (part, scope) in [(Part::Merchant, FaultScope::Calls), (Part::Refunds, FaultScope::Refunds)] {
        let of_scope = |fault: &&StoredFault| fault.merchant == merchant.key && fault.scope == scope;
        let announced = store.degradation(&merchant.key, &part).await?;
        match (faults.iter().find(of_scope), announced) {
            (Some(fault), None) => {
                let found = of_fault(config, merchant, part, fault, now);
                store.begin_degradation(&found, Again::Always).await?;
            }
            (Some(fault), Some(announced))
                if fault.fault != announced.reason || Some(&fault.said) != announced.said.as_ref() =>
            {
                let found = of_fault(config, merchant, part, fault, now);
                store.still_degraded(&announced, &found).await?;
            }
            (None, Some(announced)) => recovered(store, &announced, "probe", now).await?,
            (Some(_), Some(_)) | (None, None) => {}
        }
    }
    Ok(())
}

fn of_fault(config: &Config, merchant: &Merchant, part: Part, fault: &StoredFault, now: Timestamp) -> Degradation {
    let check = SetupFault::parse(&fault.fault).map_or("the merchant's entry", SetupFault::check);
    Degradation {
        merchant: merchant.key.clone(),
        part,
        reason: fault.fault.clone(),
        check: check.to_owned(),
        said: Some(fault.said.clone()),
        setup: digest(config, merchant),
        since: now,
        seen_at: now,
        next_probe_at: fault.next_probe_at,
    }
}

/// Whether it ends without a probe: nothing was refused for a day.
pub fn is_unseen(of: &Degradation, now: Timestamp) -> bool {
    now.since(of.seen_at) >= UNSEEN
}

/// What is degraded as this process read it last: a call that passes asks here first.
#[derive(Debug, Default)]
pub struct KnownDegraded(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    read_at: Option<Timestamp>,
    /// With the setup that was refused.
    parts: HashMap<(MerchantKey, Part), String>,
}

impl KnownDegraded {
    /// Has the next call read anew.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).read_at = None;
    }

    /// The setup under which a part is degraded, as of five seconds ago at most.
    pub async fn setup_of(
        &self,
        store: &Store,
        merchant: &MerchantKey,
        part: &Part,
        now: Timestamp,
    ) -> Result<Option<String>, DbError> {
        let is_due = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_due = known.read_at.is_none_or(|at| at > now || now.since(at) >= READ_EVERY);
            // The others of this moment go by what is known.
            known.read_at = Some(now);
            is_due
        };
        if is_due {
            let parts = store.degradations().await?.into_iter().map(|of| ((of.merchant, of.part), of.setup)).collect();
            self.0.lock().unwrap_or_else(PoisonError::into_inner).parts = parts;
        }
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.parts.get(&(merchant.clone(), part.clone())).cloned())
    }
}
