//! A cable between a process and a server, that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::ports::free_port;

/// Carries every connection to the server until it is cut; whole again with [`Cable::mend`].
pub struct Cable {
    address: SocketAddr,
    server: String,
    cut: CancellationToken,
}

impl Cable {
    /// To a server at `host:port`.
    pub async fn to(server: &str) -> Cable {
        let listener = TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
        let (address, cut) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(carry(listener, server.to_owned(), cut.clone()));
        Cable { address, server: server.to_owned(), cut }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection; new ones are refused.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// Carries connections again, at the same address.
    pub async fn mend(&mut self) {
        self.cut = CancellationToken::new();
        let listener = TcpListener::bind(self.address).await.unwrap();
        tokio::spawn(carry(listener, self.server.clone(), self.cut.clone()));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn carry(listener: TcpListener, server: String, cut: CancellationToken) {
    while let Some(accepted) = cut.run_until_cancelled(listener.accept()).await {
        let Ok((mut near, _)) = accepted else { continue };
        let (server, cut) = (server.clone(), cut.clone());
        tokio::spawn(async move {
            let carrying = async {
                let mut far = TcpStream::connect(&server).await?;
                copy_bidirectional(&mut near, &mut far).await
            };
            let _ = cut.run_until_cancelled(carrying).await;
        });
    }
}
