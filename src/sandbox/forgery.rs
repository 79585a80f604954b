//! What faults do to messages: other amounts, other signatures, another merchant.

use super::ids::mix;
use super::settings::Account;
use super::state::SandboxState;
use crate::ids::MchId;
use crate::money::Fen;
use crate::secret::{V2Key, sha256_hex};
use crate::wechat::v2::xml::Fields;

/// Adds a fen to what a message says was paid, and to the refund it is about.
pub(in crate::sandbox) fn one_fen_more(fields: &mut Fields) {
    for name in ["total_fee", "cash_fee", "refund_fee", "refund_fee_0"] {
        if let Some(value) = fields.get_mut(name)
            && let Ok(fee) = Fen::parse_field(value)
        {
            *value = Fen::from_i64(fee.as_i64().saturating_add(1)).to_string();
        }
    }
}

/// Changes one element without signing again: what would pay off most, or else anything.
pub(in crate::sandbox) fn tamper(fields: &mut Fields) {
    for name in ["trade_state", "refund_status_0", "result_code"] {
        if let Some(value) = fields.get_mut(name).filter(|value| *value != "SUCCESS") {
            *value = "SUCCESS".to_owned();
            return;
        }
    }
    if fields.contains_key("total_fee") {
        return one_fen_more(fields);
    }
    for name in ["prepay_id", "nonce_str", "return_msg"] {
        if let Some(value) = fields.get_mut(name) {
            value.push('0');
            return;
        }
    }
}

/// A key that is not the merchant's.
pub(in crate::sandbox) fn wrong_key(key: &V2Key) -> V2Key {
    V2Key::parse(&sha256_hex(key.expose().as_bytes())[..32]).unwrap_or_else(|_| key.clone())
}

/// Another merchant of this simulator, or one made up when there is only one.
pub(in crate::sandbox) fn another_merchant(sandbox: &SandboxState, own: &Account) -> Account {
    let known = sandbox.accounts.values().filter(|a| a.mch_id != own.mch_id).min_by(|a, b| a.mch_id.cmp(&b.mch_id));
    known.cloned().unwrap_or_else(|| {
        let made_up = format!("19{:08}", mix(0, u64::try_from(own.mch_id.as_str().len()).unwrap_or(0)) % 100_000_000);
        Account {
            mch_id: MchId::parse(made_up).unwrap_or_else(|_| own.mch_id.clone()),
            v2_key: wrong_key(&own.v2_key),
            appids: own.appids.clone(),
        }
    })
}
