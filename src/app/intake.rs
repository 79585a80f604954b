//! The intake log of this process, and the logs that dead processes left.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use super::error::AppError;
use super::roles::Roles;
use crate::bus::{Bus, ConsumerName};
use crate::config::{Config, IntakeKind};
use crate::intake::{Appender, Lately, LogSettings, Reader, log_name, open, prepare};
use crate::secret::random_text;
use crate::store::Store;
use crate::telemetry::{
    BUS_LAG_MESSAGES, BUS_OLDEST_UNACKED_SECONDS, INTAKE_DAMAGED_FILES, INTAKE_LOGS_LEFT, INTAKE_OLDEST_SECONDS,
    INTAKE_UNSETTLED_BYTES,
};
use crate::worker;

/// How often another name is tried: a process that searches for logs of dead ones may take one that is just being made.
const TRIES: u32 = 5;
/// The HTTP side may take the whole time of a shutdown; what it accepted last is settled after that.
const AFTER_HTTP: Duration = Duration::from_millis(500);

/// What a process does about intake logs.
pub(super) struct Intake {
    logs: worker::Logs,
    own: Option<(Appender, Reader)>,
    /// How long after the stop what was accepted is still settled.
    grace: Duration,
}

impl Intake {
    /// Opens a log where the configuration wants one, or says nothing, and this process accepts notifications. Where
    /// the queue is a server only a spool is one; what spools of before hold is forwarded whatever is configured now.
    pub async fn open(config: &Config, store: &Store, roles: Roles) -> Result<Option<Intake>, AppError> {
        let is_embedded = config.bus.nats().is_none();
        let file = config.store.sqlite_file();
        // Where a log lies unless the configuration says otherwise.
        let beside: Vec<PathBuf> = file.iter().map(|file| config.server.intake.beside(file)).collect();
        let spool = config.server.intake.spool(file.as_deref()).filter(|_| !is_embedded);
        if let Some(folder) = spool.filter(|_| roles.ingress || roles.worker) {
            return Intake::open_spool(config, store, (folder, &beside), roles.ingress).await.map(Some);
        }
        if !roles.worker {
            return Ok(None);
        }
        let accepts = roles.ingress;
        let Some(file) = file.filter(|_| is_embedded) else {
            worker::warn_elsewhere(store, None, &beside).await;
            return Ok(None);
        };
        let folder = config.server.intake.folder(&file);
        worker::warn_elsewhere(store, Some(&folder), &beside).await;
        let is_own = beside.contains(&folder);
        let grace = config.server.shutdown_timeout + AFTER_HTTP;
        let own = match config.server.intake.chosen {
            _ if !accepts => None,
            // A spool is before NATS alone: the configuration is refused otherwise.
            Some(IntakeKind::Direct | IntakeKind::Spool) => None,
            Some(IntakeKind::Log) => Some(own_log((&folder, is_own), store).await?),
            // A service that ran before there were logs goes on as before.
            None => match own_log((&folder, is_own), store).await {
                Ok(own) => Some(own),
                Err(e) => {
                    let error = crate::telemetry::error_text(&e);
                    tracing::warn!(error, "notifications go by the queue: no intake log can be made");
                    None
                }
            },
        };
        let logs = worker::Logs::new(folder, is_own, false);
        Ok(Some(Intake { logs, own, grace }))
    }

    /// Each process that accepts has a log where a spool is configured; each that accepts or works forwards what dead
    /// ones left.
    async fn open_spool(
        config: &Config,
        store: &Store,
        (folder, beside): (PathBuf, &[PathBuf]),
        accepts: bool,
    ) -> Result<Intake, AppError> {
        worker::warn_elsewhere(store, Some(&folder), beside).await;
        let is_own = beside.contains(&folder);
        let writes = accepts && config.server.intake.is_spool();
        let own = if writes { Some(own_log((&folder, is_own), store).await?) } else { None };
        let logs = worker::Logs::new(folder, is_own, true);
        Ok(Intake { logs, own, grace: config.server.shutdown_timeout + AFTER_HTTP })
    }

    /// What of other processes' logs stays.
    pub fn found(&self) -> Lately {
        self.logs.found.clone()
    }

    /// Where notifications are appended.
    pub fn appender(&self) -> Option<Appender> {
        self.own.as_ref().map(|(appender, _)| appender.clone())
    }

    /// Has the queue's lag count what waits in this process's log.
    pub fn is_counted_by(&self, bus: &Bus) {
        let Some((_, reader)) = &self.own else { return };
        // The lock of the log ends with its reader, and not with the bus.
        let log = Arc::downgrade(reader.log());
        bus.counts(ConsumerName::SETTLE, move || {
            let state = log.upgrade().map(|log| log.state());
            state.map_or((0, None), |state| (state.unsettled_records, state.oldest))
        });
    }

    /// Settles or forwards what this process accepts, and takes over what others left.
    pub async fn settle(self, ctx: worker::Context, bus: Bus, stop: CancellationToken) -> Result<(), AppError> {
        let Intake { logs, own, grace } = self;
        let is_spool = logs.is_spool;
        let take_over = {
            let (ctx, bus, stop) = (ctx.clone(), bus.clone(), stop.clone());
            async move {
                worker::take_over(ctx, bus, logs, stop).await;
                Ok(())
            }
        };
        let settle = async move {
            // The HTTP side's appenders close the log.
            let Some((_, reader)) = own else { return Ok(()) };
            let ended = if is_spool {
                worker::forward_intake(ctx, bus, reader, (stop, grace)).await
            } else {
                worker::run_intake(ctx, bus, reader, (stop, grace)).await
            };
            ended.map_err(|e| AppError::Role("intake", e))
        };
        tokio::try_join!(settle, take_over).map(drop)
    }
}

/// Renews the gauges of a log, and of what others left; zero where there is none. Where the process does not measure
/// the queue, the lag that it shows is that of its log.
pub(super) fn show(log: Option<&Appender>, found: &Lately, measures_queue: bool) {
    let state = log.map(Appender::state);
    let bytes = state.map_or(0, |state| state.unsettled_bytes);
    let age = state.and_then(|state| state.oldest).unwrap_or_default();
    gauge!(INTAKE_UNSETTLED_BYTES).set(bytes as f64);
    gauge!(INTAKE_OLDEST_SECONDS).set(age.as_secs_f64());
    if let Some(state) = state.filter(|_| !measures_queue) {
        let consumer = || ConsumerName::SETTLE.as_str().to_owned();
        gauge!(BUS_LAG_MESSAGES, "consumer" => consumer()).set(state.unsettled_records as f64);
        gauge!(BUS_OLDEST_UNACKED_SECONDS, "consumer" => consumer()).set(age.as_secs_f64());
    }
    let found = found.get();
    let foreign = found.foreign();
    for (reason, logs) in
        [("blocked", found.blocked.len()), ("another_database", foreign), ("not_readable", found.left.len() - foreign)]
    {
        gauge!(INTAKE_LOGS_LEFT, "reason" => reason).set(logs as f64);
    }
    gauge!(INTAKE_DAMAGED_FILES).set(found.damaged as f64);
}

async fn own_log((folder, is_own): (&Path, bool), store: &Store) -> Result<(Appender, Reader), AppError> {
    let failed = |e| AppError::Intake(folder.to_owned(), e);
    let database = worker::intake_database(store, folder, is_own).await.map_err(|e| failed(io::Error::other(e)))?;
    prepare(folder).map_err(failed)?;
    let mut tries = 1;
    loop {
        match open(folder, &log_name(&random_text(20)), database, LogSettings::DEFAULT) {
            Err(_) if tries < TRIES => tries += 1,
            outcome => return outcome.map_err(failed),
        }
    }
}
