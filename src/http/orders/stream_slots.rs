//! How many streams are open: in the process, and of one order.
//!
//! An order's token is in its payer's hands. What must stay true: one order, whichever client holds its token, never
//! takes more than [`MAX_OF_ORDER`] of the process's [`MAX_STREAMS`], and a slot is free again when its stream is gone,
//! however it went.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::problem::Error;
use crate::ids::{MerchantKey, OrderNo};

/// Streams open at once in one process.
const MAX_STREAMS: usize = 1000;
/// Streams open at once of one order in one process: a few pages of the payer and the business's own.
const MAX_OF_ORDER: usize = 4;

type Key = (MerchantKey, OrderNo);
type OpenByOrder = Arc<Mutex<HashMap<Key, usize>>>;

/// The slots of a process.
#[derive(Debug)]
pub struct StreamSlots {
    all: Arc<Semaphore>,
    by_order: OpenByOrder,
}

impl StreamSlots {
    /// All of them free.
    pub fn new() -> StreamSlots {
        StreamSlots { all: Arc::new(Semaphore::new(MAX_STREAMS)), by_order: OpenByOrder::default() }
    }

    /// Takes a slot for a stream of this order until it is dropped.
    pub fn take(&self, merchant: &MerchantKey, order_no: &OrderNo) -> Result<StreamSlot, Error> {
        let order = (merchant.clone(), order_no.clone());
        let mut by_order = self.by_order.lock().unwrap_or_else(PoisonError::into_inner);
        let open = by_order.get(&order).copied().unwrap_or_default();
        if open >= MAX_OF_ORDER {
            return Err(Error::TooManyStreamsOfOrder);
        }
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Error::TooManyStreams)?;
        by_order.insert(order.clone(), open + 1);
        Ok(StreamSlot { by_order: Arc::clone(&self.by_order), order, _permit: permit })
    }
}

#[derive(Debug)]
pub struct StreamSlot {
    by_order: OpenByOrder,
    order: Key,
    _permit: OwnedSemaphorePermit,
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut by_order = self.by_order.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = by_order.get_mut(&self.order) {
            *open -= 1;
            if *open == 0 {
                by_order.remove(&self.order);
            }
        }
    }
}
