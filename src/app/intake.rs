//! The intake log of this process, and the logs that dead processes left.

use std::io;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::error::AppError;
use crate::bus::Bus;
use crate::config::{Config, IntakeKind};
use crate::intake::{Appender, LogSettings, Reader, open, prepare};
use crate::secret::random_text;
use crate::worker;

/// How often another name is tried: a process that searches for logs of dead ones may take one that is just being made.
const TRIES: u32 = 5;

/// What a process with workers does about intake logs.
pub(super) struct Intake {
    folder: PathBuf,
    own: Option<(Appender, Reader)>,
}

impl Intake {
    /// Opens a log where the configuration wants one and this process accepts notifications. None where the database or
    /// the queue is a server.
    pub fn open(config: &Config, accepts: bool) -> Result<Option<Intake>, AppError> {
        let is_embedded = config.bus.url.expose().trim().starts_with("embedded:");
        let Some(file) = config.store.sqlite_file().filter(|_| is_embedded) else { return Ok(None) };
        let folder = config.server.intake.folder(&file);
        let own = match config.server.intake.kind {
            IntakeKind::Log if accepts => Some(own_log(&folder).map_err(|e| AppError::Intake(folder.clone(), e))?),
            IntakeKind::Log | IntakeKind::Direct => None,
        };
        Ok(Some(Intake { folder, own }))
    }

    /// Where notifications are appended.
    pub fn appender(&self) -> Option<Appender> {
        self.own.as_ref().map(|(appender, _)| appender.clone())
    }

    /// Settles what this process accepts, and takes over what others left.
    pub async fn settle(self, ctx: worker::Context, bus: Bus, stop: CancellationToken) {
        let take_over = worker::take_over(ctx.clone(), bus.clone(), self.folder, stop.clone());
        match self.own {
            Some((_, reader)) => _ = tokio::join!(worker::run_intake(ctx, bus, reader, stop), take_over),
            None => take_over.await,
        }
    }
}

fn own_log(folder: &Path) -> io::Result<(Appender, Reader)> {
    prepare(folder)?;
    let mut tries = 1;
    loop {
        match open(folder, &random_text(20).to_lowercase(), LogSettings::DEFAULT) {
            Err(_) if tries < TRIES => tries += 1,
            outcome => return outcome,
        }
    }
}
