//! Where refunds are found, how they are planned to end, and what merchants have set: the state beside the orders.

use std::collections::HashMap;

use super::record::RefundStatus;
use crate::ids::MchId;
use crate::money::Fen;

/// The key of a merchant's own number.
pub(in crate::sandbox) fn number(mch_id: &str, own: &str) -> String {
    format!("{mch_id}/{own}")
}

/// What the control API set for a merchant.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct MerchantSettings {
    /// What its account holds; nothing: without limit. Payments do not fill it.
    pub balance: Option<Fen>,
    /// The address of refund notifications for refunds that name none.
    pub refund_notify_url: Option<String>,
}

/// Indexes over the refunds, which the orders hold.
#[derive(Default)]
pub(in crate::sandbox) struct Refunds {
    /// Place of the order, place of the refund in it.
    pub(in crate::sandbox) by_number: HashMap<String, (usize, usize)>,
    pub(in crate::sandbox) by_id: HashMap<String, (usize, usize)>,
    /// Numbers issued so far; restored by the journal.
    pub(in crate::sandbox) accepted: u64,
    /// How refunds shall end, by the order's or the refund's number.
    pub(in crate::sandbox) plans: HashMap<String, RefundStatus>,
    pub(in crate::sandbox) merchants: HashMap<String, MerchantSettings>,
}

impl Refunds {
    /// Writes down how refunds of an order, or the one with a number, shall end.
    pub fn plan(&mut self, mch_id: &str, own: &str, status: RefundStatus) {
        self.plans.insert(number(mch_id, own), status);
    }

    /// Writes down what a merchant has.
    pub fn set_merchant(&mut self, mch_id: String, settings: MerchantSettings) {
        self.merchants.insert(mch_id, settings);
    }

    /// What was set for a merchant.
    pub fn merchant(&self, mch_id: &str) -> MerchantSettings {
        self.merchants.get(mch_id).cloned().unwrap_or_default()
    }

    /// Adds to a limited balance; a negative amount takes from it.
    pub fn move_balance(&mut self, mch_id: &MchId, fen: i64) {
        if let Some(balance) = self.merchants.get_mut(mch_id.as_str()).and_then(|settings| settings.balance.as_mut()) {
            *balance = Fen::from_i64(balance.as_i64().saturating_add(fen));
        }
    }
}
