//! A cable between a process and a server, that can be cut, hold back what the server says, or go silent.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::ports::{free_port, listen};

/// Carries every connection to the server until it is cut; whole again with [`Cable::mend`].
pub struct Cable {
    address: SocketAddr,
    server: String,
    cut: CancellationToken,
    holds: watch::Sender<bool>,
    silenced: watch::Sender<()>,
}

impl Cable {
    /// To a server at `host:port`.
    pub async fn to(server: &str) -> Cable {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], free_port()))).await;
        let (address, cut) = (listener.local_addr().unwrap(), CancellationToken::new());
        let cable = Cable {
            address,
            server: server.to_owned(),
            cut,
            holds: watch::Sender::new(false),
            silenced: watch::Sender::new(()),
        };
        cable.carry(listener);
        cable
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection; new ones are refused.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// The server hears everything, and nothing of what it says arrives before this is taken back.
    pub fn hold(&self, holds: bool) {
        self.holds.send_replace(holds);
    }

    /// Nothing arrives any more on the connections there are, in neither direction, and none of them ends: as when a
    /// host is lost. New ones are carried.
    pub fn silence(&self) {
        self.silenced.send_replace(());
    }

    /// Carries connections again, at the same address.
    pub async fn mend(&mut self) {
        self.cut = CancellationToken::new();
        self.carry(listen(self.address).await);
    }

    fn carry(&self, listener: TcpListener) {
        let state = (self.holds.subscribe(), self.silenced.subscribe());
        tokio::spawn(carry(listener, self.server.clone(), self.cut.clone(), state));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.cut();
    }
}

async fn carry(
    listener: TcpListener,
    server: String,
    cut: CancellationToken,
    (holds, silenced): (watch::Receiver<bool>, watch::Receiver<()>),
) {
    while let Some(accepted) = cut.run_until_cancelled(listener.accept()).await {
        let Ok((near, _)) = accepted else { continue };
        let (server, cut, holds, mut silenced) = (server.clone(), cut.clone(), holds.clone(), silenced.clone());
        // Only what comes later silences this one.
        silenced.borrow_and_update();
        tokio::spawn(async move {
            let carried = carry_one(near, &server, holds);
            tokio::pin!(carried);
            let until_silenced = async {
                tokio::select! {
                    _ = &mut carried => {}
                    // The sockets stay open, and nothing reads them.
                    Ok(()) = silenced.changed() => std::future::pending().await,
                }
            };
            let _ = cut.run_until_cancelled(until_silenced).await;
        });
    }
}

async fn carry_one(mut near: TcpStream, server: &str, mut holds: watch::Receiver<bool>) -> std::io::Result<()> {
    let mut far = TcpStream::connect(server).await?;
    let ((mut from_near, mut to_near), (mut from_far, mut to_far)) = (near.split(), far.split());
    let asks = async {
        copy(&mut from_near, &mut to_far).await?;
        to_far.shutdown().await
    };
    let answers = async {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = from_far.read(&mut bytes).await?;
            // Without its other end it is held no more.
            let _ = holds.wait_for(|holds| !holds).await;
            if count == 0 {
                return to_near.shutdown().await;
            }
            to_near.write_all(&bytes[..count]).await?;
        }
    };
    tokio::try_join!(asks, answers).map(drop)
}
