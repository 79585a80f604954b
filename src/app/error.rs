//! Why the service does not start, or stopped.

use std::time::Duration;

use crate::bus::ConnectError;
use crate::config::Problems;
use crate::store::DbError;
use crate::telemetry::MetricsError;
use crate::webhooks;
use crate::wechat::transport::ClientError;
use crate::worker::RefundClientError;

/// Why the service does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{0}")]
    Config(#[from] Problems),
    #[error("database: {0}")]
    Store(#[from] DbError),
    #[error("bus: {0}")]
    Bus(#[from] ConnectError),
    #[error("WeChat client: {0}")]
    Wechat(#[from] ClientError),
    #[error(transparent)]
    RefundClients(#[from] RefundClientError),
    #[error(transparent)]
    Webhooks(#[from] webhooks::SenderError),
    #[error("cannot listen on {0}: {1}")]
    Listen(std::net::SocketAddr, #[source] std::io::Error),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error("the intake log in {0}: {1}")]
    Intake(std::path::PathBuf, #[source] std::io::Error),
    #[error("{0} stopped: {1}")]
    Role(&'static str, String),
    #[error("work in progress did not end within {0:?}; it is redelivered after the next start")]
    Slow(Duration),
}
