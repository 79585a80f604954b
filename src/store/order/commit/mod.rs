//! The commit of decisions on orders, the only place where an order changes.

mod change;
mod decision;

pub use change::OrderCommit;
pub use decision::OrderDecision;
