//! The bus: carries work to workers and news to others. One handle over two implementations.
//!
//! - *Embedded*: rows in the service's own database, nothing else to run.
//! - *JetStream*: NATS, for many machines and for subscribers outside.
//!
//! It is not where truth lives: a bus that was wiped costs time, never a fen. What must stay true: [`Bus::publish`]
//! returns only after the message is durable; a delivery ends as done, as a retry or as a dead letter, and is
//! acknowledged only after that end is durable. Delivery is at least once.

mod bundle;
mod callers;
mod consumer;
mod dead_letter;
mod embedded;
mod ending;
mod handle;
mod jetstream;
mod message;
mod parcel;
mod peek;
mod subscription;
mod topology;
mod types;
mod verdict;

pub use consumer::Together;
pub use dead_letter::{Deferred, Parked, Parking, ParkingError};
pub use ending::Ending;
pub use handle::Bus;
pub use message::{Delivery, Message};
pub use parcel::Parcel;
pub use peek::{Peek, Peeked, StreamView};
pub use topology::{ConsumerName, ConsumerSpec, Discard, StreamSpec, Topology, TopologyError, matches};
pub use types::{
    ConnectError, ConsumeError, Fill, Inspected, Lag, LagError, PUBLISH_TIMEOUT, PublishError, Report, Sync,
};
pub use verdict::{MAX_BUS_DELAY, MAX_BUS_RETRIES, Step, Tries, Verdict, next_step};
