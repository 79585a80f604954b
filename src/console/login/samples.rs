//! Which failed logins stand in the audit.

use std::net::IpAddr;
use std::time::Duration;

use crate::http::rate_limit::Throttle;

/// One row of the audit per address and reason in this time, and one of all in that.
const PER_ADDRESS: Duration = Duration::from_secs(60);
const OVERALL: Duration = Duration::from_secs(1);

/// Which failed logins were sampled last.
pub struct FailedLogins {
    per_address: Throttle<(IpAddr, &'static str)>,
    overall: Throttle<()>,
}

impl Default for FailedLogins {
    fn default() -> FailedLogins {
        FailedLogins { per_address: Throttle::new(PER_ADDRESS), overall: Throttle::new(OVERALL) }
    }
}

impl FailedLogins {
    /// Whether this one is recorded; if so, it counts as recorded.
    pub fn is_sampled(&self, client: IpAddr, why: &'static str) -> bool {
        self.per_address.pass((client, why)) && self.overall.pass(())
    }
}
