//! How far a log was forwarded, in a file beside its records: for a queue on a server, while the database may be away.
//!
//! What must stay true: the position in it never leads: it is written after what lies before it was stored elsewhere,
//! and replaces the one before in one step. One that cannot be read counts as none: all is forwarded again, and what
//! was settled changes nothing.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::folder::{private, sync};
use super::frame::checksum;
use super::name::{CURSOR, NEXT_CURSOR};

/// Of what follows: a later version may write another one.
const FORM: &str = "1";
/// No cursor is longer.
const MAX: u64 = 64;

/// Keeps the position; it is on the disk when it returns. Blocks.
pub fn write_cursor(log: &Path, position: u64) -> io::Result<()> {
    let next = log.join(NEXT_CURSOR);
    let mut file = private().write(true).create(true).truncate(true).open(&next)?;
    file.write_all(text_of(position).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&next, log.join(CURSOR))?;
    sync(log)
}

/// The position that was kept last; 0 where there is none, or none that can be read. Rights that lack are an error: a
/// person mends them. Blocks.
pub fn read_cursor(log: &Path) -> io::Result<u64> {
    let mut text = String::new();
    let read = File::open(log.join(CURSOR)).and_then(|file| file.take(MAX).read_to_string(&mut text));
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Err(e),
        Err(_) | Ok(_) => {}
    }
    let position = text.split(' ').nth(1).and_then(|position| position.parse().ok());
    let known = position.filter(|position| read.is_ok() && text_of(*position) == text);
    if known.is_none() {
        let error = read.err();
        tracing::error!(?log, ?error, "the cursor of an intake log cannot be read: all of it is forwarded again");
    }
    Ok(known.unwrap_or(0))
}

fn text_of(position: u64) -> String {
    let known = format!("{FORM} {position}");
    format!("{known} {:08x}\n", checksum(&[known.as_bytes()]))
}
