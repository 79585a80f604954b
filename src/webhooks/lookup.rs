//! From a name to the addresses that a connection may go to. The connection goes to one of those that this answered:
//! there is no second lookup between the check and the connection.

use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::address::{AddressError, is_allowed};
use crate::config::ConfigHandle;

/// The addresses of a name, to come.
pub type Addresses = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Who knows the addresses of names.
pub trait Lookup: Send + Sync {
    fn lookup(&self, name: String) -> Addresses;
}

/// The system's resolver.
pub(super) struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup(&self, name: String) -> Addresses {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// What the HTTP client resolves names with.
#[derive(Clone)]
pub(super) struct CheckedLookup {
    pub lookup: Arc<dyn Lookup>,
    pub config: ConfigHandle,
}

impl CheckedLookup {
    /// The addresses of a name that a connection may go to.
    pub async fn allowed(self, name: String) -> Result<Vec<IpAddr>, AddressError> {
        let found = self.lookup.lookup(name).await.unwrap_or_default();
        if found.is_empty() {
            return Err(AddressError::NoAddress);
        }
        let config = self.config.snapshot();
        let allowed: Vec<IpAddr> =
            found.into_iter().filter(|ip| is_allowed(*ip, &config.webhooks.allow_networks)).collect();
        if allowed.is_empty() { Err(AddressError::Inside) } else { Ok(allowed) }
    }
}

impl Resolve for CheckedLookup {
    fn resolve(&self, name: Name) -> Resolving {
        let checked = self.clone().allowed(name.as_str().to_owned());
        Box::pin(async move {
            // Port 0 becomes the URL's.
            let addresses = checked.await?.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok::<Addrs, Box<dyn Error + Send + Sync>>(Box::new(addresses.collect::<Vec<_>>().into_iter()))
        })
    }
}
