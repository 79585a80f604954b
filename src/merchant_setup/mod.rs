//! A merchant whose own key, number, app, certificate or address WeChat refuses: the probe that tells it from an order
//! that is refused alone, and what its beginning and its end do.
//!
//! While the fault is there its orders and refunds wait under their numbers. At its end they become due one after the
//! other through their own schedules. What must stay true: one process reports a beginning, one an end, each with its
//! event; the lines name the setting to check and never its value; what is degraded is probed once a minute at most, by
//! all processes together.

mod fault;
mod health;
mod probe;

pub use fault::{begins, ended};
pub use health::{
    KnownDegraded, PERMISSION, PROBE_EVERY, announce, degraded, is_unseen, may_probe, recovered, removed,
};
pub use probe::{Probe, digest, probe, probe_app};
