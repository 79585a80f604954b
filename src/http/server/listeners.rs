//! The addresses at which a process listens.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Config;

/// An address that is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {0}: {1}")]
pub struct CannotListen(pub SocketAddr, #[source] pub std::io::Error);

/// Sockets already bound, so that a test can pass free ports.
#[derive(Debug, Default)]
pub struct Listeners {
    /// The API and the notification address.
    pub api: Option<TcpListener>,
    /// WeChat's notifications, where they have an address of their own.
    pub notify: Option<TcpListener>,
    /// Health and metrics, where they have an address of their own.
    pub admin: Option<TcpListener>,
    /// The operators' console, where it has an address of its own.
    pub console: Option<TcpListener>,
}

impl Listeners {
    /// Binds what the configuration names: without the role ingress only health and metrics.
    pub async fn bind(config: &Config, is_ingress: bool) -> Result<Listeners, CannotListen> {
        let server = &config.server;
        let console = config.console.listen.filter(|_| config.console.enabled);
        let of_ingress = |address: Option<SocketAddr>| address.filter(|_| is_ingress);
        Ok(Listeners {
            api: listen(of_ingress(Some(server.listen))).await?,
            notify: listen(of_ingress(server.notify_listen)).await?,
            admin: listen(server.admin_listen).await?,
            console: listen(of_ingress(console)).await?,
        })
    }
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, CannotListen> {
    let Some(address) = address else { return Ok(None) };
    TcpListener::bind(address).await.map(Some).map_err(|e| CannotListen(address, e))
}
