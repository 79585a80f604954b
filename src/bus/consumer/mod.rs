//! The consumer loop: takes as many messages as there are free workers (backpressure), runs the handler, and maps its
//! verdict to an acknowledgement, a delayed redelivery, a deferral or a dead letter. The same for both buses.
//!
//! What must stay true: no delivery is acknowledged before its end is durable, wherever that is (the handler's own
//! effects, the deferred row, the dead letter); never more than `concurrency` handlers run; a panic or a handler that
//! hangs is one failed attempt and not the end of the loop.

mod delivery;
mod together;
mod work;
mod worker;

pub(super) use work::work;
pub use worker::Together;
pub(super) use worker::Worker;
