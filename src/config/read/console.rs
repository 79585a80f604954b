//! The operators' console: the keys of `[console]`.

use std::time::Duration;

use crate::config::address;
use crate::config::reader::Reader;
use crate::config::sections::{Console, Server};
use crate::money::Fen;

pub(in crate::config) fn console(r: &mut Reader<'_>) -> Option<Console> {
    let enabled = r.flag("enabled");
    let listen = r.optional("listen", address::socket);
    let public_url = r.optional("public_url", address::origin);
    let session_hours = r.number("session_hours", 1..=24 * 7);
    let cap = r.number("refund_cap_fen_per_day", 0..=i64::MAX / 4);
    Some(Console {
        enabled: enabled?,
        listen: listen?,
        public_url: public_url?,
        session_lifetime: Duration::from_secs(session_hours?.unsigned_abs() * 3600),
        refund_cap_per_day: cap.map(Fen::from_i64).map(|cap| Some(cap).filter(|cap| *cap > Fen::ZERO))?,
    })
}

impl Console {
    /// Where browsers reach it.
    pub fn url<'a>(&'a self, server: &'a Server) -> &'a str {
        self.public_url.as_deref().unwrap_or(&server.public_url)
    }
}
