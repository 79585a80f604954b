//! What the last probe of each merchant found, in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::merchant_setup::Probe;

/// The last probe of each merchant in this process. A merchant's lock is held while it is probed.
#[derive(Default)]
pub struct Probes(Mutex<HashMap<MerchantKey, Arc<tokio::sync::Mutex<Option<Probed>>>>>);

/// A probe, and the setup that was probed.
pub(super) struct Probed {
    pub at: Timestamp,
    pub setup: String,
    pub probe: Probe,
}

impl Probes {
    pub(super) fn of(&self, merchant: &MerchantKey) -> Arc<tokio::sync::Mutex<Option<Probed>>> {
        let mut probes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(probes.entry(merchant.clone()).or_default())
    }
}
