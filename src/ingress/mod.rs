//! The HTTP ingress: parse, verify, publish, answer. Thin on purpose.
//!
//! It never decides about money and never calls WeChat: what a notification means and what becomes of an order is the
//! workers' business. What must stay true: WeChat hears SUCCESS only after its notification is durable on the bus, and a
//! business hears that an order was taken only after the request is durable.
//!
//! - Server: `server` (connections and their clocks), `phase` (where a connection stands), `guard` (every request).
//! - Edge: `auth`, `body`, `client_addr`, `query`, `error` (problems), `throttle`.
//! - Orders: `orders` (routes), `place` (`POST`), `changes` (close, new attempts), `attempt_request`, `order_request` (validation), `form` (JSON members), `in_flight`,
//!   `offer` (pay parameters), `order_json` (the answer), `stream` (server-sent events), `watch` (the hub that waits).
//! - Refunds: `refunds` (routes), `refund_request` (validation), `refund_json` (the answer).
//! - WeChat: `notify`, `quarantine`.
//! - Finance: `events`, `feed` (the hub that waits).
//! - Operation: `health`.

mod attempt_request;
mod auth;
mod body;
mod changes;
mod client_addr;
mod error;
mod error_sources;
mod events;
mod feed;
mod form;
mod guard;
mod health;
mod in_flight;
mod notify;
mod offer;
mod order_json;
mod order_request;
mod orders;
mod phase;
mod place;
mod quarantine;
mod query;
mod refund_json;
mod refund_request;
mod refunds;
mod routes;
mod server;
mod stream;
mod stream_slots;
mod throttle;
mod watch;

pub use error::{At, Error, FieldProblem, PROBLEM_BASE};
pub use events::ENTITY_FACTS;
pub use health::MetricsText;
pub use phase::Remote;
pub use routes::{Ingress, admin_router, router};
pub use server::serve;
