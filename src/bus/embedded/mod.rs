//! The embedded bus: the queue in the service's own database, for one machine or a few processes on one PostgreSQL.
//!
//! It is not a log for others: of what every consumer acknowledged only the key stays, until the duplicate window has
//! passed, and a consumer that is new in a release gets messages from then on. What must stay true: a publish returns
//! after its transaction committed; a claim is a lease by the database's clock, so that the work of a killed process
//! comes again by itself; `bus.max_bytes` bounds what is outstanding, never what is done with.

mod handover;
mod publishing;
mod queue;
mod supply;

pub(super) use queue::Embedded;
