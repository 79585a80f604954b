//! Appending: one thread writes everything that waits with one write and one fsync, then answers.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::sync::{mpsc, oneshot};

use super::folder;
use super::folder::Segment;
use super::name::{DatabaseId, is_log_name};
use super::open_file::OpenFile;
use super::reader::{Durable, Reader};
use super::record::Record;
use super::shared::{AppendError, Entry, LogState, Shared};
use crate::failpoint;
use crate::telemetry::INTAKE_SYNCS_TOTAL;

/// How often a log is tried that could not be written.
const PROBE_EVERY: Duration = Duration::from_secs(2);

/// How a log works.
#[derive(Debug, Clone, Copy)]
pub struct LogSettings {
    /// Bytes of records that are not settled; what comes on top is refused.
    pub max_bytes: u64,
    /// From this size on another file is begun.
    pub file_bytes: u64,
}

impl LogSettings {
    /// What the service runs with.
    pub const DEFAULT: LogSettings = LogSettings { max_bytes: 128 * 1024 * 1024, file_bytes: 16 * 1024 * 1024 };
}

/// Where records are appended. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Appender(Arc<Handle>);

/// Closes the log with the last appender.
#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Begins a log of this name in a folder of its own, and its thread.
pub fn open(parent: &Path, name: &str, database: DatabaseId, settings: LogSettings) -> io::Result<(Appender, Reader)> {
    if !is_log_name(name) {
        return Err(io::Error::other("this is no name of a log"));
    }
    let folder = parent.join(name);
    folder::prepare(&folder)?;
    let lock = folder::make_lock(&folder)?.ok_or_else(|| io::Error::other("the log is another process's"))?;
    let mut number = 0;
    let begun = folder::begin(&folder, database, 0, &mut number);
    if begun.is_err() {
        // What is empty is not left behind by a process that cannot start.
        let _ = folder::remove_rest(&folder);
    }
    let (file, segment) = begun?;
    let (hand_on, durable) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared::new(settings.max_bytes, lock));
    let thread = Thread {
        shared: Arc::clone(&shared),
        folder: folder.clone(),
        database,
        file: Some(OpenFile::begun(file, true)),
        makes_room: true,
        segments: VecDeque::from([segment]),
        number,
        position: 0,
        file_bytes: settings.file_bytes,
        hand_on,
    };
    std::thread::Builder::new().name("intake-log".into()).spawn(move || thread.run())?;
    let reader = Reader::new(name.to_owned(), folder, Arc::clone(&shared), durable);
    Ok((Appender(Arc::new(Handle(shared))), reader))
}

impl Appender {
    /// Appends a record; returns once it is on the disk. A caller that goes away cancels nothing.
    pub async fn append(&self, record: Record) -> Result<(), AppendError> {
        let frame = record.to_frame().ok_or(AppendError::TooLarge)?;
        let shared = &self.0.0;
        let size = frame.len() as u64;
        if !shared.reserve(size) {
            return Err(AppendError::Full);
        }
        let (done, outcome) = oneshot::channel();
        if !shared.push(Entry { record, frame, done }) {
            shared.free(size);
            return Err(AppendError::Closed);
        }
        outcome.await.unwrap_or(Err(AppendError::Failed))
    }

    /// What waits to be settled.
    pub fn state(&self) -> LogState {
        self.0.0.state()
    }

    /// Takes nothing more. What was taken is written, and handed to the reader.
    pub fn close(&self) {
        self.0.0.close();
    }
}

/// Its fields are dropped in their order: when the reader learns of the end, the thread has the lock no more.
struct Thread {
    shared: Arc<Shared>,
    folder: PathBuf,
    database: DatabaseId,
    /// None after an error: the next write begins another one.
    file: Option<OpenFile>,
    /// Whether the next file is made with room: a disk may be full without it.
    makes_room: bool,
    /// The files that are kept; the last is written to.
    segments: VecDeque<Segment>,
    /// That of the next file.
    number: u64,
    /// Where the next record goes.
    position: u64,
    file_bytes: u64,
    hand_on: mpsc::UnboundedSender<Durable>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Also where it panicked: no caller waits for an answer that does not come.
        self.shared.break_off();
    }
}

impl Thread {
    fn run(mut self) {
        // What could not be written is tried without a notification, too: a process that is not ready gets none.
        while let Some(entries) = self.shared.next(PROBE_EVERY) {
            let written = if entries.is_empty() { self.begin_file() } else { self.write(&entries) };
            self.shared.set_failing(written.is_err());
            match written {
                Ok(()) => self.hand_on(entries),
                Err(e) => {
                    if !entries.is_empty() {
                        tracing::error!(error = %e, records = entries.len(), "Notifications could not be stored");
                    }
                    self.refuse(entries);
                    if self.is_removed() {
                        tracing::error!(folder = ?self.folder, "the intake log was removed while it was written");
                        return;
                    }
                }
            }
        }
        self.end_file();
    }

    fn end_file(&mut self) {
        if let Some(file) = self.file.take() {
            file.end();
        }
    }

    fn hand_on(&mut self, entries: Vec<Entry>) {
        let mut end = self.position;
        self.shared.written_up_to(entries.iter().map(|entry| {
            end += entry.frame.len() as u64;
            end
        }));
        for Entry { record, frame, done } in entries {
            let from = self.position;
            self.position += frame.len() as u64;
            // Without a reader it stays in the files, for the process that takes them over.
            let _ = self.hand_on.send(Durable { record, from, to: self.position });
            let _ = done.send(Ok(()));
        }
    }

    fn refuse(&self, entries: Vec<Entry>) {
        for Entry { frame, done, .. } in entries {
            self.shared.free(frame.len() as u64);
            let _ = done.send(Err(AppendError::Failed));
        }
    }

    /// Begins another file where there is none to write to.
    fn begin_file(&mut self) -> io::Result<()> {
        let begun = self.segments.back().map_or(0, |segment| segment.start);
        if self.file.is_none() || self.position - begun >= self.file_bytes {
            self.end_file();
            // Before another one is begun: on a full disk these make the room for it.
            self.remove_settled();
            let (file, segment) = folder::begin(&self.folder, self.database, self.position, &mut self.number)?;
            self.file = Some(OpenFile::begun(file, std::mem::replace(&mut self.makes_room, true)));
            self.segments.push_back(segment);
            self.remove_settled();
        }
        Ok(())
    }

    fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        self.begin_file()?;
        let Some(file) = &mut self.file else { return Err(io::Error::other("no file")) };
        let bytes = entries.iter().map(|entry| entry.frame.as_slice()).collect::<Vec<&[u8]>>().concat();
        let written = failpoint::fails("intake.write").and_then(|()| file.write(&bytes)).and_then(|()| {
            failpoint::point("intake.written");
            failpoint::fails("intake.sync").and_then(|()| file.sync())
        });
        match written {
            Ok(()) => {
                counter!(INTAKE_SYNCS_TOTAL).increment(1);
                failpoint::point("intake.synced");
            }
            Err(_) => self.give_up_file(),
        }
        written
    }

    /// Whether a person or a program removed the log's files or its folder: the lock is gone with them, and no process
    /// would take over what is written from now on.
    fn is_removed(&self) -> bool {
        let is_gone =
            |path: &Path| std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        is_gone(&self.folder) || self.segments.iter().any(|segment| is_gone(&segment.path))
    }

    /// What the file holds now is unknown: it is written to no more, and synced no more, as a sync that follows one
    /// that failed may report success for bytes that are lost. Records that are in it all the same lie behind the
    /// position at which the next file begins, and are passed over.
    fn give_up_file(&mut self) {
        (self.file, self.makes_room) = (None, false);
        let Some(last) = self.segments.back().filter(|last| last.start == self.position) else { return };
        // Nothing of it was acknowledged: on a disk without room each try would leave one more. The only file stays,
        // as a log without any would be taken for one that was settled to its end.
        if self.segments.len() > 1 && std::fs::remove_file(&last.path).is_ok() {
            self.segments.pop_back();
        }
    }

    /// Removes files that lie behind the cursor.
    fn remove_settled(&mut self) {
        let settled = self.shared.settled();
        while self.segments.get(1).is_some_and(|next| next.start <= settled)
            && let Some(first) = self.segments.front()
        {
            // One that stays is tried again with the next file.
            match std::fs::remove_file(&first.path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(error = %e, "a settled file of the intake log stays");
                    return;
                }
                Ok(()) | Err(_) => self.segments.pop_front(),
            };
            failpoint::point("intake.file_removed");
        }
    }
}
