//! The operators' console: the keys of `[console]`.

use std::time::Duration;

use crate::config::address;
use crate::config::reader::Reader;
use crate::config::sections::{Console, Server};

pub(in crate::config) fn console(r: &mut Reader<'_>) -> Option<Console> {
    let enabled = r.flag("enabled");
    let listen = r.optional("listen", address::socket);
    let public_url = r.optional("public_url", address::origin);
    let session_hours = r.number("session_hours", 1..=24 * 7);
    Some(Console {
        enabled: enabled?,
        listen: listen?,
        public_url: public_url?,
        session_lifetime: Duration::from_secs(session_hours?.unsigned_abs() * 3600),
    })
}

impl Console {
    /// Where browsers reach it.
    pub fn url<'a>(&'a self, server: &'a Server) -> &'a str {
        self.public_url.as_deref().unwrap_or(&server.public_url)
    }
}
