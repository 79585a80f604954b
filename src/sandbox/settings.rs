//! Who the simulator's merchants are and how fast its time runs.

use crate::ids::{AppId, MchId};
use crate::secret::V2Key;

/// One merchant that the simulator knows.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its number.
    pub mch_id: MchId,
    /// The key that signs both ways.
    pub v2_key: V2Key,
    /// The apps bound to it.
    pub appids: Vec<AppId>,
}

/// What a simulator is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The merchants; at least one.
    pub merchants: Vec<Account>,
    /// Every duration of WeChat's own (repeats of a notification, life of a `prepay_id`, of an `mweb_url`, of an order
    /// without `time_expire`, the five minutes before closing, a refund's way and the minute between two, the year in
    /// which a payment can be refunded) is divided by this. 1 is real time. `time_expire` is a
    /// moment the merchant named and is not scaled, nor are network timeouts.
    pub time_scale: u32,
    /// Seeds the dice of the faults and the numbers issued: one seed and one order of requests give one history.
    pub seed: u64,
}

impl Settings {
    /// The merchant of WeChat's public signing example, in real time. Its key is printed in WeChat's documentation.
    pub fn example() -> Settings {
        let merchant = || -> Option<Account> {
            Some(Account {
                mch_id: MchId::parse("10000100").ok()?,
                v2_key: V2Key::parse("192006250b4c09247ec02edce69f6a2d").ok()?,
                appids: vec![AppId::parse("wxd930ea5d5a258f4f").ok()?],
            })
        };
        Settings { merchants: merchant().into_iter().collect(), time_scale: 1, seed: 1 }
    }
}
