//! The configuration in force, which may be replaced while the process runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::sections::Config;

/// The configuration in force. Clones share it.
///
/// What must stay true: each request, delivery and run takes one snapshot when it begins and works on nothing else, so
/// that it never sees half of one configuration and half of another.
#[derive(Debug, Clone)]
pub struct ConfigHandle(Arc<RwLock<Arc<Config>>>);

impl ConfigHandle {
    /// Puts a configuration in force.
    pub fn new(config: Config) -> ConfigHandle {
        ConfigHandle(Arc::new(RwLock::new(Arc::new(config))))
    }

    /// The configuration as it is now.
    pub fn snapshot(&self) -> Arc<Config> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another configuration in force: for what begins from now on.
    pub fn replace(&self, config: Config) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }
}
