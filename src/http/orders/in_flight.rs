//! Idempotency keys whose requests are under way in this process.
//!
//! The database remembers a key once its order is recorded. Until then this keeps two requests with one key and
//! different content from both going ahead; equal ones may, because they end at the same order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::command::Idempotency;
use crate::http::problem::Error;

type Keys = Mutex<HashMap<(String, String), (String, usize)>>;

/// The keys under way.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Keys>);

impl InFlight {
    /// Claims `key` for a request with this content until the claim is dropped.
    pub fn claim(&self, key: &Idempotency, content_hash: &str) -> Result<Claim, Error> {
        let id = (key.api_key.clone(), key.key.clone());
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (hash, count) = keys.entry(id.clone()).or_insert_with(|| (content_hash.to_owned(), 0));
        if hash != content_hash {
            return Err(Error::KeyInFlight);
        }
        *count += 1;
        Ok(Claim { keys: Arc::clone(&self.0), id })
    }
}

#[derive(Debug)]
pub struct Claim {
    keys: Arc<Keys>,
    id: (String, String),
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, count)) = keys.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                keys.remove(&self.id);
            }
        }
    }
}
