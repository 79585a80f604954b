//! The operators' console: pages at `/console`, rendered here, with a small script that they work without.
//!
//! Every page shows and does what [`crate::ops`] does, under the user's rights and merchants. What must stay true: no
//! page without a session; no change without the session's CSRF token from this very site; whatever is stored is
//! escaped by the template; no script or style but the console's own files.
//!
//! - A request: `state`, `viewer` (who asks), `form` and `query` (what is asked), `fault` (why not).
//! - A page: `frame` (what surrounds it), `nav`, `words`, `links`, `flash`, `ui` (money, time, status, identifiers),
//!   `assets`.
//! - Rooms: `login`, `overview`, `orders`, `order`, `refund`, `notifications`, `dead_letters`, `replays`, `money` (held
//!   money, refunds), `finance` (ledger, reconciliation, months), `webhooks`, `activity` (jobs, audit), `payers`
//!   (ending sessions, erasing), `settings`, `search`.

#[macro_use]
pub mod words;

mod activity;
mod assets;
pub mod cookies;
mod dead_letters;
pub mod fault;
mod finance;
pub mod flash;
pub mod form;
pub mod frame;
pub mod links;
pub mod login;
mod money;
pub mod nav;
mod notifications;
mod order;
mod orders;
pub mod overview;
mod payers;
pub mod query;
mod refund;
mod replays;
mod routes;
mod search;
mod settings;
pub mod state;
pub mod ui;
pub mod viewer;
mod webhooks;

pub use routes::{own_router, routes};
