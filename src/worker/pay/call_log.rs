//! The calls of one delivery, until a decision or the delivery's end takes them to the store.

use std::sync::{Mutex, PoisonError};

use crate::store::CallRecord;

/// The calls of one delivery.
#[derive(Debug, Default)]
pub struct CallLog(Mutex<Vec<CallRecord>>);

impl CallLog {
    /// What was noted since the last time.
    pub fn take(&self) -> Vec<CallRecord> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn note(&self, call: CallRecord) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}
