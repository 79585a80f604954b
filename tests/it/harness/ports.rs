//! Ports for servers that tests kill and start again.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;

use super::within_timeout;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port that stays free while its process is down: none that the system hands to outgoing connections.
pub fn free_port() -> u16 {
    loop {
        let port = port_of(NEXT.fetch_add(1, Ordering::Relaxed));
        if is_free(port) {
            return port;
        }
    }
}

/// The first of two such ports beside each other, of which no other test is given either.
pub fn two_free_ports() -> u16 {
    loop {
        let step = NEXT.fetch_add(2, Ordering::Relaxed);
        let (first, second) = (port_of(step), port_of(step.wrapping_add(1)));
        if second == first + 1 && is_free(first) && is_free(second) {
            return first;
        }
    }
}

/// Listens where a server listened before: its socket may be open for a moment still, in a task that has not ended or
/// in a program that another thread starts, until its exec.
pub async fn listen(address: SocketAddr) -> TcpListener {
    within_timeout("an address that is free again", async {
        loop {
            match TcpListener::bind(address).await {
                Ok(listener) => return listener,
                Err(e) if e.kind() == ErrorKind::AddrInUse => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(e) => panic!("{address}: {e}"),
            }
        }
    })
    .await
}

fn port_of(step: u16) -> u16 {
    10_000 + (std::process::id() as u16).wrapping_mul(97).wrapping_add(step) % 22_000
}

/// It is not bound to try it: a program that another thread starts meanwhile would hold the socket until its exec.
fn is_free(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_err()
}
