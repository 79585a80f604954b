//! Which requests arrived, so that a test can see that a retry repeated the same number with the same parameters.
//!
//! Kept in memory only; hashes instead of bodies. Every request with a valid signature is counted when it arrives,
//! whatever fault then eats its answer.

use std::collections::{BTreeMap, HashMap};

use super::faults::On;
use crate::clock::Timestamp;

/// How many requests of one number are kept one by one; beyond that only the count grows.
const KEPT: usize = 100;

pub(super) struct Arrival {
    pub at: Timestamp,
    pub parameters_sha256: String,
    pub body_sha256: String,
    /// For calls about a refund that name it.
    pub out_refund_no: Option<String>,
}

/// The requests of one API about one number.
pub(super) struct Requests {
    pub mch_id: String,
    pub out_trade_no: String,
    pub count: u64,
    pub each: Vec<Arrival>,
}

#[derive(Default)]
pub(super) struct RequestLog {
    by_number: HashMap<(On, String), Requests>,
    rejected: BTreeMap<(On, String), u64>,
}

impl RequestLog {
    /// Counts a request whose signature holds.
    pub fn note(&mut self, api: On, mch_id: &str, out_trade_no: &str, arrival: Arrival) {
        let requests = self.by_number.entry((api, format!("{mch_id}/{out_trade_no}"))).or_insert_with(|| Requests {
            mch_id: mch_id.to_owned(),
            out_trade_no: out_trade_no.to_owned(),
            count: 0,
            each: Vec::new(),
        });
        requests.count += 1;
        if requests.each.len() < KEPT {
            requests.each.push(arrival);
        }
    }

    /// Counts a request that did not get past the communication layer, by WeChat's words for it.
    pub fn reject(&mut self, api: On, reason: &str) {
        *self.rejected.entry((api, reason.to_owned())).or_default() += 1;
    }

    /// Every number asked about, in no order.
    pub fn requests(&self) -> impl Iterator<Item = (On, &Requests)> {
        self.by_number.iter().map(|((api, _), requests)| (*api, requests))
    }

    /// The rejected ones by reason.
    pub fn rejected(&self) -> impl Iterator<Item = (On, &str, u64)> {
        self.rejected.iter().map(|((api, reason), count)| (*api, reason.as_str(), *count))
    }
}
