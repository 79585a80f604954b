//! All checks at the same time, each within its limit.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use super::finding::{Finding, Status};
use super::{books, bus, configuration, database, disk, intake, merchants, notify_url};
use crate::clock::Clock;
use crate::config::Config;
use crate::wechat::certificate;

/// What is examined, and with which limits.
pub struct Examined {
    /// The configuration's file, as `wxpayd --config` takes it.
    pub file: Option<PathBuf>,
    /// The environment's part of the configuration.
    pub env: Vec<(String, String)>,
    /// The most that one check may take.
    pub limit: Duration,
    /// Whether the books are compared, too.
    pub books: bool,
    /// This host's clock.
    pub clock: Clock,
}

/// The limit of the last day that is compared, as a multiple of the others'.
const BOOKS_LATE: u32 = 10;

/// Every check, all of them at the same time. A configuration that cannot be read is the only finding.
pub async fn examine(examined: &Examined) -> Vec<Finding> {
    let loaded = Config::load(examined.file.as_deref(), examined.env.iter().cloned(), certificate::check);
    let config = match loaded {
        Ok(config) => config,
        Err(problems) => return configuration::refused(&problems),
    };
    let (limit, clock) = (examined.limit, &examined.clock);
    let (database, bus, merchants, disk, intake, address) = tokio::join!(
        within(limit, "database", database::check(&config, clock)),
        within(limit, "bus", bus::check(&config)),
        // Each merchant has its own limit: one without an answer must not hide what was found of the others.
        merchants::check(&config, clock, limit),
        within(limit, "disk", disk::check(&config)),
        within(limit, "intake", intake::check(&config)),
        within(limit, "notify_url", notify_url::check(&config)),
    );
    let mut findings = configuration::check(&config, clock);
    findings.extend([database, bus, merchants, disk, intake, address].into_iter().flatten());
    if examined.books {
        // It ends between two days; one day may take longer than the limit.
        let late = limit.saturating_mul(BOOKS_LATE);
        findings.extend(within(late, "books", books::check_books(&config, limit)).await);
    }
    findings
}

/// The findings of a check, or that it took too long.
async fn within(limit: Duration, name: &'static str, check: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(limit, check).await.unwrap_or_else(|_| vec![late(name, limit)])
}

fn late(name: &'static str, limit: Duration) -> Finding {
    Finding::new(name, Status::Down, format!("no answer within {} s", limit.as_secs()))
        .mend("check the route from this host, or allow more time with --timeout")
}
