//! Reads what strace wrote: which system calls a process made, in which order they began and ended.

use std::collections::HashMap;
use std::path::Path;

/// One call. `began` and `ended` are places in the trace: smaller is earlier.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    /// Arguments and result, as strace shows them.
    pub text: String,
    pub began: usize,
    pub ended: usize,
}

impl Call {
    /// Whether it writes its file or socket.
    pub fn writes(&self) -> bool {
        ["pwrite64", "pwritev", "write", "writev", "sendto", "sendmsg"].contains(&self.name.as_str())
    }

    pub fn reads(&self) -> bool {
        ["read", "recvfrom", "recvmsg"].contains(&self.name.as_str())
    }

    /// Whether it puts a file on the disk for good.
    pub fn syncs(&self) -> bool {
        self.name == "fsync" || self.name == "fdatasync"
    }

    /// Whether it is about a file or socket whose name (as `-y` shows it) contains this.
    pub fn on(&self, name: &str) -> bool {
        self.text
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
            .is_some_and(|(file, _)| file.contains(name))
    }
}

/// Every call of a trace, in the order of their ends; those that never ended are left out.
pub fn parse(text: &str) -> Vec<Call> {
    let mut unfinished: HashMap<(&str, String), (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some((name, tail)) = resumed.split_once(" resumed>") else { continue };
            if let Some((began, head)) = unfinished.remove(&(process, name.to_owned())) {
                calls.push(Call { name: name.to_owned(), text: head + tail, began, ended: place });
            }
        } else if let Some((name, arguments)) = rest.split_once('(') {
            match arguments.strip_suffix("<unfinished ...>") {
                Some(head) => {
                    unfinished.insert((process, name.to_owned()), (place, head.to_owned()));
                }
                None => {
                    calls.push(Call { name: name.to_owned(), text: arguments.to_owned(), began: place, ended: place })
                }
            }
        }
    }
    calls
}

/// The calls so far.
pub fn read(file: &Path) -> Vec<Call> {
    parse(&String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()))
}

/// Why a trace does not show that a message was on the disk before it was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    NeverReceived,
    Unanswered,
    Unwritten,
    Unsynced,
}

/// The expected sequence of calls.
pub struct Expected<'a> {
    /// Begins, in what was read from a socket, the message.
    pub message: &'a str,
    /// Is in what was written to the file.
    pub stored: &'a str,
    /// Part of the file's name.
    pub file: &'a str,
    /// Is in the acknowledgement that was written to a socket.
    pub answer: &'a str,
}

/// Shows that between the end of the read of the message and the begin of the write of its answer, the file was written
/// with it and then synced.
pub fn kept(calls: &[Call], expected: &Expected<'_>) -> Result<(), Flaw> {
    let Expected { message, stored, file, answer } = expected;
    let read = calls.iter().find(|c| c.reads() && c.text.contains(message)).ok_or(Flaw::NeverReceived)?;
    let answered = calls.iter().find(|c| c.writes() && c.began > read.ended && c.text.contains(answer) && !c.on(file));
    let answered = answered.ok_or(Flaw::Unanswered)?;
    let between = |c: &&Call| c.began > read.ended && c.ended < answered.began && c.on(file);
    let written = calls.iter().filter(between).find(|c| c.writes() && c.text.contains(stored));
    let written = written.ok_or(Flaw::Unwritten)?;
    let synced = calls.iter().filter(between).any(|c| c.syncs() && c.began > written.ended);
    if synced { Ok(()) } else { Err(Flaw::Unsynced) }
}

#[test]
fn only_a_sync_between_the_write_and_the_answer_is_durable() {
    let expected = Expected { message: "POST /x", stored: "row", file: ".db-wal", answer: "200 OK" };
    let read = r#"7 recvfrom(9<socket:[1]>, "POST /x HTTP/1.1\r\n"..., 8192, 0, NULL, NULL) = 64"#;
    let begun = "8 pwrite64(5</t/a.db-wal>, \"a row\", 5, 0 <unfinished ...>";
    let written = "8 <... pwrite64 resumed>) = 5";
    let synced = "8 fdatasync(5</t/a.db-wal>) = 0";
    let other = "8 fdatasync(6</t/b.db>) = 0";
    let answer = r#"7 writev(9<socket:[1]>, [{iov_base="HTTP/1.1 200 OK\r\n"}], 1) = 20"#;
    let judged = |lines: &[&str]| kept(&parse(&lines.join("\n")), &expected);
    assert_eq!(judged(&[read, begun, written, synced, answer]), Ok(()));
    assert_eq!(judged(&[read, begun, written, answer, synced]), Err(Flaw::Unsynced));
    assert_eq!(judged(&[read, begun, written, other, answer]), Err(Flaw::Unsynced));
    assert_eq!(judged(&[read, begun, synced, written, answer]), Err(Flaw::Unsynced));
    assert_eq!(judged(&[begun, written, synced, read, answer]), Err(Flaw::Unwritten));
    assert_eq!(judged(&[read, begun, synced, answer]), Err(Flaw::Unwritten));
    assert_eq!(judged(&[read, begun, written, synced]), Err(Flaw::Unanswered));
    assert_eq!(judged(&[begun, written, synced, answer]), Err(Flaw::NeverReceived));
}
