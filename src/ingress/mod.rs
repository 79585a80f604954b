//! The HTTP ingress: parse, verify, publish, answer. Thin on purpose.
//!
//! It never decides about money: what a notification means and what becomes of an order is the workers' business, who
//! call WeChat about it. The browser side alone calls WeChat itself, for one thing: a login's one-time code, which only the
//! request that brings it can use. What must stay true: WeChat hears SUCCESS only after its notification is durable on the bus, and a
//! business hears that an order was taken only after the request is durable.
//!
//! - Server: `server` (connections and their clocks), `phase` (where a connection stands), `guard` (every request).
//! - Edge: `auth`, `body`, `client_addr`, `query`, `error` (problems), `throttle`.
//! - Orders: `orders` (routes), `place` (`POST`), `changes` (close, new attempts), `attempt_request`, `order_request` (validation), `form` (JSON members), `in_flight`,
//!   `offer` (pay parameters), `order_json` (the answer), `stream` (server-sent events), `watch` (the hub that waits).
//! - Refunds: `refunds` (routes), `refund_request` (validation), `refund_json` (the answer).
//! - WeChat: `notify`, `quarantine`.
//! - Browser: `browser`, pages inside WeChat and mini programs.
//! - Finance: `events`, `feed` (the hub that waits).
//! - Operation: `health`, `ops_jobs`.

mod attempt_request;
mod auth;
mod body;
mod browser;
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
mod ops_jobs;
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

pub use browser::{Failure, Origins, Reason};
pub use error::{At, Error, FieldProblem, PROBLEM_BASE};
pub use events::ENTITY_FACTS;
pub use health::MetricsText;
pub use phase::Remote;
pub use routes::{Ingress, admin_router, router};
pub use server::serve;
