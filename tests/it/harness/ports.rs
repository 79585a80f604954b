//! Ports for servers that tests kill and start again.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port that stays free while its process is down: none that the system hands to outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + (std::process::id() as u16).wrapping_mul(97).wrapping_add(step) % 22_000;
        // Not bound to try it: a program that another thread starts meanwhile holds the socket until its exec.
        if TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
}
