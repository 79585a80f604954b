//! A delivery that ends with its effects.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::queue::Finished;

/// The end of a delivery that can be written in the transaction of its effects: the bus is rows of that database.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ending(Arc<(Finished, AtomicBool)>);

impl Ending {
    pub(in crate::bus) fn new(finished: Finished) -> Ending {
        Ending(Arc::new((finished, AtomicBool::new(false))))
    }

    /// What the transaction writes.
    pub fn finished(&self) -> &Finished {
        &self.0.0
    }

    /// The transaction that wrote it is durable: the delivery needs no other acknowledgement.
    pub fn mark_committed(&self) {
        self.0.1.store(true, Ordering::Release);
    }

    pub(in crate::bus) fn is_committed(&self) -> bool {
        self.0.1.load(Ordering::Acquire)
    }
}
