//! A merchant whose own key, number, app, certificate or address WeChat refuses: the probe that tells it from an order
//! that is refused alone, and what its beginning and its end do.
//!
//! While the fault is there its orders and refunds wait under their numbers. At its end they become due one after the
//! other through their own schedules. What must stay true: one process reports a beginning, one an end; the lines name
//! the setting to check and never its value.

mod fault;
mod probe;

pub use fault::{PROBE_MAX, begins, ended, pause};
pub use probe::{Probe, digest, probe};
