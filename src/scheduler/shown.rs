//! Gauges that one process shows for all: the holder of their job's lease. One that has lost it shows 0, so that what
//! it measured last does not outlive it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use metrics::gauge;

/// Name and labels.
type Series = (&'static str, Vec<(&'static str, String)>);

/// What this process shows, and whether the run under way has set it.
#[derive(Default)]
pub(super) struct Shown(Mutex<BTreeMap<Series, bool>>);

impl Shown {
    pub fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let labels: Vec<_> = labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        gauge!(name, &labels).set(value);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((name, labels), true);
    }

    /// Ends a run that measured everything: what it did not set is 0.
    pub fn measured(&self) {
        for ((name, labels), is_set) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            if !std::mem::take(is_set) {
                gauge!(*name, labels).set(0.0);
            }
        }
    }

    /// Another process measures now.
    pub fn cease(&self) {
        let shown = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, labels) in shown.into_keys() {
            gauge!(name, &labels).set(0.0);
        }
    }
}
