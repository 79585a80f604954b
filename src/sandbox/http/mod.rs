//! The listeners: connections, certificates, answers that never arrive whole.

pub(super) mod certificates;
mod guard;
pub(super) mod server;
pub(super) mod tls;
pub(super) mod wire;
