//! Clocks that should agree.

use std::time::Duration;

use super::finding::{Finding, Status};

/// Clocks that differ by more are wrong.
const CLOCKS_APART: Duration = Duration::from_secs(30);

/// Whether this host's clock agrees with another one.
pub(super) fn between(with: &str, difference: Duration) -> Finding {
    const NAME: &str = "clock";
    let seconds = difference.as_secs();
    let finding = if difference > CLOCKS_APART {
        // WeChat's is measured up to five minutes.
        let least = if seconds >= 300 { "at least " } else { "" };
        Finding::new(NAME, Status::Problem, format!("this host's clock differs by {least}{seconds} s"))
            .mend("synchronise the clocks (chrony, systemd-timesyncd)")
    } else {
        Finding::new(NAME, Status::Ok, format!("differs by {seconds} s"))
    };
    finding.about(with)
}
