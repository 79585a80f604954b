//! The HTTP ingress: parse, verify, publish, answer. Thin on purpose.
//!
//! It never decides about money: what a notification means and what becomes of an order is the workers' business, who
//! call WeChat about it. What must stay true: WeChat is answered SUCCESS only after its notification is durable on the
//! bus, and a business is answered that an order was taken only after the request is durable.
//!
//! - Server: `server` (connections, their deadlines and shares), `middleware` (every request), `routes`.
//! - Edge: `extract` (credentials, body, query string, client address), `problem` (RFC 9457), `rate_limit`,
//!   `network` (whose an address is), `api_keys` (those of the database, revoked and refused ones).
//! - Business API: `orders`, `refunds`, `change_hub` (requests that wait for a change), `open_streams`.
//! - WeChat: `notifications`, `notify_health`, `quarantine`.
//! - Finance: `events`, `books`, `reconciliations`, `periods`, `webhooks`.
//! - Operation: `health`, `ops`, `payers`.

mod api_keys;
pub(crate) mod books;
mod change_hub;
mod events;
pub(crate) mod extract;
mod health;
pub(crate) mod middleware;
pub(crate) mod network;
pub(crate) mod notifications;
mod notify_health;
mod open_streams;
mod ops;
pub(crate) mod orders;
mod payers;
mod payments;
mod periods;
pub(crate) mod problem;
mod problem_answer;
mod problem_sources;
mod quarantine;
pub(crate) mod rate_limit;
mod reconciliations;
pub(crate) mod refunds;
pub(crate) mod routes;
mod server;
pub(crate) mod state;
mod webhooks;

pub use events::list::ENTITY_FACTS;
pub use extract::transport;
pub use health::last::LastReadiness;
pub use open_streams::StreamLimits;
pub use problem::{At, Error, FieldProblem, PROBLEM_BASE};
pub use refunds::view::{AWAITING, NOT_APPROVED};
pub use routes::{admin_router, guarded, notify_router, router};
pub use server::{
    Bodies, CannotListen, Listeners, OfListener, Remote, raise_limit, serve, shared_with_notifications, within_files,
};
pub use state::{HttpShared, HttpState, Ingress};
