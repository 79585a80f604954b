//! Why the service does not start, or stopped.

use std::time::Duration;

use crate::bus::ConnectError;
use crate::config::Problems;
use crate::http::CannotListen;
use crate::store::DbError;
use crate::telemetry::MetricsError;
use crate::webhooks;
use crate::wechat::transport::ClientError;
use crate::worker::RefundClientError;

/// Why the service does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Store(#[from] DbError),
    #[error(transparent)]
    Bus(#[from] ConnectError),
    #[error(transparent)]
    Wechat(#[from] ClientError),
    #[error(transparent)]
    RefundClients(#[from] RefundClientError),
    #[error(transparent)]
    Webhooks(#[from] webhooks::SenderError),
    #[error(transparent)]
    Listen(#[from] CannotListen),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error("the intake log in {0}")]
    Intake(std::path::PathBuf, #[source] std::io::Error),
    #[error("{0} stopped: {1}")]
    Role(&'static str, String),
    #[error("work in progress did not end within {0:?}; it is redelivered after the next start")]
    Slow(Duration),
}
