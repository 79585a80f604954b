//! The operators' console: the keys of `[console]`.

use std::time::Duration;

use crate::config::address;
use crate::config::reader::Reader;
use crate::config::sections::Console;

pub(in crate::config) fn console(r: &mut Reader<'_>) -> Option<Console> {
    let enabled = r.flag("enabled");
    let listen = r.optional("listen", address::socket);
    let session_hours = r.number("session_hours", 1..=24 * 7);
    Some(Console {
        enabled: enabled?,
        listen: listen?,
        session_lifetime: Duration::from_secs(session_hours?.unsigned_abs() * 3600),
    })
}
