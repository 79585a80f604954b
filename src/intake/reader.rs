//! Reading one's own log: from memory, as records become durable.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::folder;
use super::record::Record;
use super::shared::{LogState, Shared};

/// A record that is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    pub record: Record,
    /// Its position.
    pub from: u64,
    /// The position behind it.
    pub to: u64,
}

/// The only reader of a log.
#[derive(Debug)]
pub struct Reader {
    log: Arc<Log>,
    durable: mpsc::UnboundedReceiver<Durable>,
}

/// A log that this process writes: its files, and how far they are settled.
#[derive(Debug)]
pub struct Log {
    name: String,
    folder: PathBuf,
    shared: Arc<Shared>,
}

impl Reader {
    pub(super) fn new(
        name: String,
        folder: PathBuf,
        shared: Arc<Shared>,
        durable: mpsc::UnboundedReceiver<Durable>,
    ) -> Reader {
        Reader { log: Arc::new(Log { name, folder, shared }), durable }
    }

    /// The log that is read.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Waits for records, and takes up to so many. None once everything was taken and nothing comes any more.
    pub async fn take(&mut self, most: usize) -> Vec<Durable> {
        let mut taken = Vec::new();
        self.durable.recv_many(&mut taken, most).await;
        taken
    }
}

impl Log {
    /// What the cursor's row is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of all logs.
    pub fn parent(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// Whether it was closed. Where it was not and nothing comes, its thread has died.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// The cursor is durable at this position: there is room for as much again.
    pub fn settled_up_to(&self, position: u64) {
        self.shared.settle_up_to(position);
    }

    /// What waits to be settled.
    pub fn state(&self) -> LogState {
        self.shared.state()
    }

    /// Removes the files. Only where everything is settled.
    pub fn remove(&self) -> io::Result<()> {
        folder::remove(&self.folder)
    }
}
