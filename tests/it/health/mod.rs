//! What of a merchant is degraded: when that begins and ends, its events, and where operators read it.

mod apart;
mod first;
mod held_gauge;
mod hints;
mod parts;
mod refunds;
mod setup;
mod support;
