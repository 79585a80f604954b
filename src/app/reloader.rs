//! Reading the configuration anew while the roles run.

use std::path::Path;

use super::error::AppError;
use crate::clock::Clock;
use crate::config::{ConfigHandle, Reload, ReloadOutcome};
use crate::telemetry;
use crate::wechat::certificate;
use crate::wechat::transport::Client;
use crate::worker::RefundClients;

/// Puts another configuration in force: all of it or nothing.
pub struct Reloader {
    pub(super) config: ConfigHandle,
    pub(super) refund_clients: RefundClients,
    pub(super) wechat: Client,
    pub(super) clock: Clock,
}

impl Reloader {
    /// Reads file, secrets and certificates anew. Whatever is wrong with them, the configuration in force stays; how
    /// it ended is in the log, in a metric and in `/readyz`.
    pub fn reload(&self, file: Option<&Path>, env: impl Iterator<Item = (String, String)>) {
        let mut outcome = ReloadOutcome { at: self.clock.now(), refused: None, needs_restart: Vec::new() };
        let result = match self.read(file, env) {
            Ok((Reload { config, changed, needs_restart }, refund_clients)) => {
                for warning in &config.warnings {
                    tracing::warn!(%warning, "the configuration");
                }
                tracing::info!(
                    ?changed,
                    ?needs_restart,
                    config_hash = config.hash(),
                    "The configuration was read anew"
                );
                self.refund_clients.replace(&refund_clients);
                self.config.replace(config);
                outcome.needs_restart = needs_restart;
                "applied"
            }
            Err(error) => {
                tracing::error!(%error, "The configuration was refused: what was in force stays");
                outcome.refused = Some(error.to_string());
                "refused"
            }
        };
        metrics::counter!(telemetry::CONFIG_RELOADS_TOTAL, "result" => result).increment(1);
        self.config.note_reload(outcome);
    }

    fn read(
        &self,
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<(Reload, RefundClients), AppError> {
        let reload = self.config.snapshot().reload(file, env, certificate::check)?;
        let refund_clients = RefundClients::open(&reload.config, &self.wechat)?;
        Ok((reload, refund_clients))
    }
}
