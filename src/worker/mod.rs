//! The workers: what happens when a message arrives. One file per kind of message.
//!
//! Every handler may run twice, at the same time, in two processes. None holds a database transaction while it talks to
//! WeChat.
//!
//! `core` is what handlers share: context, the trait of a handler, errors, and the path of a fact to its order.
//! `pay` paces the calls to WeChat. `order`, `refund` and `notification` have a handler per kind of message; `handlers`
//! is the table of them, and `replay` runs them on what an operator replays.

mod core;
mod handlers;
mod intake;
mod notification;
mod order;
mod pay;
mod refund;
mod replay;

pub use self::core::context::Context;
pub use self::core::dead_letter::StoreParking;
pub use self::handlers::run;
pub use self::intake::{
    Logs, SearchPauses, database_of as intake_database, forward as forward_intake, run as run_intake, take_over,
    warn_elsewhere,
};
pub use self::order::here::OrderPlacer;
pub use self::pay::refund_clients::{RefundClientError, RefundClients};
pub use self::replay::run as run_replays;
