//! The beginning and the end of a fault of a merchant's setup.

use std::time::Duration;

use super::health::{PROBE_EVERY, announce};
use super::probe::digest;
use crate::clock::Timestamp;
use crate::config::{Config, Merchant};
use crate::event::fact::WechatError;
use crate::store::{DbError, FaultScope, Store, StoredFault};
use crate::wechat::setup_fault::SetupFault;

/// What waited becomes due at this distance.
const APART: Duration = Duration::from_millis(50);
/// How many become due before their time; what is left comes when it is due, within minutes.
const ADVANCED: u32 = 2000;

/// A fault was found, by a probe or by a refund. One line and one row, however many processes find it.
pub async fn begins(
    store: &Store,
    (config, merchant): (&Config, &Merchant),
    (fault, scope): (SetupFault, FaultScope),
    said: &WechatError,
    now: Timestamp,
) -> Result<(), DbError> {
    let row = StoredFault {
        merchant: merchant.key.clone(),
        fault: fault.as_str().to_owned(),
        scope,
        setup: digest(config, merchant),
        said: said.clone(),
        probes: 0,
        next_probe_at: now.after(PROBE_EVERY),
    };
    if store.begin_setup_fault(&row, now).await? {
        let waits = match scope {
            FaultScope::Calls => "its orders and refunds wait until that is corrected",
            FaultScope::Refunds => "its refunds wait until that is corrected",
        };
        tracing::error!(
            merchant = %merchant.key, fault = fault.as_str(), check = fault.check(), code = said.code,
            said = said.message, key = merchant.v2_key.fingerprint(), mch_id = %merchant.mch_id,
            "WeChat refuses the merchant's setup; {waits}"
        );
        announce(store, config, merchant, now).await?;
    }
    Ok(())
}

/// WeChat accepts what it refused: what waited becomes due, one after the other.
pub async fn ended(
    store: &Store,
    (config, merchant): (&Config, &Merchant),
    fault: &StoredFault,
    now: Timestamp,
) -> Result<(), DbError> {
    let orders = match fault.scope {
        FaultScope::Calls => store.advance_waiting_orders(&fault.merchant, now, APART, ADVANCED).await?,
        FaultScope::Refunds => 0,
    };
    let refunds = store.advance_waiting_refunds(&fault.merchant, now, APART, ADVANCED).await?;
    // Last: what a process that dies here left is advanced by the next one.
    if store.end_setup_fault(fault).await? {
        tracing::info!(
            merchant = %fault.merchant, fault = fault.fault, orders, refunds,
            "WeChat accepts the merchant's setup again; what waited goes on"
        );
        announce(store, config, merchant, now).await?;
    }
    Ok(())
}
