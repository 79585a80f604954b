//! Where notifications are made durable: `server.intake` and `server.intake_dir`.

use std::path::{Path, PathBuf};

/// Where notifications are made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// None where the configuration leaves it to the service.
    pub chosen: Option<IntakeKind>,
    /// The folder of the logs, where it is not beside the database.
    pub dir: Option<PathBuf>,
}

/// Into what a notification is written before WeChat hears SUCCESS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntakeKind {
    /// The queue.
    Direct,
    /// A log of the process, with SQLite and the embedded queue.
    Log,
    /// A log of the process, from which it goes on to the queue on NATS.
    Spool,
}

impl Intake {
    /// The folder of the logs of the processes that share this database file.
    pub fn folder(&self, database: &Path) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| self.beside(database))
    }

    /// The folder of logs that go to NATS, whether this process writes one or not: it forwards what others left. None
    /// where there is no folder. `database`: that of SQLite.
    pub fn spool(&self, database: Option<&Path>) -> Option<PathBuf> {
        self.dir.clone().or_else(|| database.map(|database| self.beside(database)))
    }

    /// Whether this process's notifications go to a spool.
    pub fn is_spool(&self) -> bool {
        match self.chosen {
            Some(IntakeKind::Spool) => true,
            Some(IntakeKind::Direct | IntakeKind::Log) | None => false,
        }
    }

    /// Where that folder is unless another one is named.
    pub fn beside(&self, database: &Path) -> PathBuf {
        let mut name = database.to_path_buf().into_os_string();
        name.push(".intake");
        PathBuf::from(name)
    }
}
