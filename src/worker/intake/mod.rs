//! The intake log's other side: settling what this process accepts, or forwarding it to NATS, and taking over what dead
//! processes left.

mod batch;
mod blocking;
mod forward;
mod moving;
mod settle;
mod take_over;

pub use forward::forward;
pub use settle::run;
pub use take_over::{Logs, SearchPauses, database_of, take_over, warn_elsewhere};
