//! Noticing what other processes commit to a SQLite file: asked by a thread of its own, so that the runtime is woken
//! only when something changed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use sea_orm::{DbErr, RuntimeErr};

use super::error::DbError;
use crate::store::writer::BUSY_TIMEOUT;

/// Changes when another connection committed, of any process; only values of one connection can be compared.
const DATA_VERSION: &str = "PRAGMA data_version";

/// Compares the state of a file with the one it found before.
#[derive(Debug)]
pub(super) struct FileProbe {
    file: Arc<Path>,
    /// Not of a pool, which replaces its connections from time to time.
    connection: Option<Connection>,
    seen: Option<i64>,
}

impl FileProbe {
    pub fn new(file: Arc<Path>) -> FileProbe {
        FileProbe { file, connection: None, seen: None }
    }

    /// Whether anything may have been committed since the last call; always at the first. Microseconds, but where
    /// another process has the file to itself.
    pub fn has_changed(&mut self) -> Result<bool, DbError> {
        let found = self.data_version();
        if found.is_err() {
            self.connection = None;
            self.seen = None;
        }
        let found = found.map_err(|e| DbErr::Conn(RuntimeErr::Internal(e.to_string())))?;
        Ok(self.seen.replace(found) != Some(found))
    }

    fn data_version(&mut self) -> Result<i64, rusqlite::Error> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.file)?,
        };
        let connection = self.connection.insert(connection);
        connection.prepare_cached(DATA_VERSION)?.query_row([], |row| row.get(0))
    }
}

fn connect(file: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", "ON")?;
    Ok(connection)
}

/// The thread that probes a file. It ends when this is dropped.
pub(in crate::store) struct FileWatch {
    answered: Answered,
    thread: Thread,
}

/// When the thread had the last outcome; none once it is to end.
type Answered = Arc<Mutex<Option<Instant>>>;

impl FileWatch {
    /// Probes at once, then after the pause that `heed` answers to each outcome. `heed` is not called any more once
    /// this was dropped.
    pub fn start(
        file: Arc<Path>,
        mut heed: impl FnMut(Result<bool, DbError>) -> Duration + Send + 'static,
    ) -> std::io::Result<FileWatch> {
        let answered: Answered = Arc::new(Mutex::new(Some(Instant::now())));
        let shared = Arc::clone(&answered);
        let work = move || {
            let mut probe = FileProbe::new(file);
            while let Some(pause) = report(&shared, probe.has_changed(), &mut heed) {
                std::thread::park_timeout(pause);
            }
        };
        let thread = std::thread::Builder::new().name("store-probe".into()).spawn(work)?.thread().clone();
        Ok(FileWatch { answered, thread })
    }

    /// How long the thread has been waiting for the file at most.
    pub fn silent_for(&self) -> Duration {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.map(|at| at.elapsed()).unwrap_or_default()
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.thread.unpark();
    }
}

/// Hands on an outcome and answers the pause after it; none where the thread is to end.
fn report(
    answered: &Mutex<Option<Instant>>,
    outcome: Result<bool, DbError>,
    heed: &mut impl FnMut(Result<bool, DbError>) -> Duration,
) -> Option<Duration> {
    // Held meanwhile: what ends the thread waits for the end of the call.
    let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
    answered.is_some().then(|| {
        *answered = Some(Instant::now());
        heed(outcome)
    })
}
