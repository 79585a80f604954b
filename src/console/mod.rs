//! The operators' console: pages at `/console`, rendered here, with a small script that they work without.
//!
//! Every page shows and does what [`crate::ops`] does, under the user's rights and merchants. What must stay true: no
//! page without a session; no change without the session's CSRF token from this very site; whatever is stored is
//! escaped by the template; no script or style but the console's own files.
//!
//! - A request: `state`, `viewer` (who asks), `form` and `query` (what is asked), `fault` (why not).
//! - A page: `frame` (what surrounds it), `nav`, `words`, `links`, `flash`, `ui` (money, time, status, identifiers),
//!   `assets`.
//! - Rooms: `login`, then one folder for each entry of the navigation.

#[macro_use]
mod words;

mod assets;
mod cookies;
mod dead_letters;
mod fault;
mod flash;
mod form;
mod frame;
mod links;
mod login;
mod nav;
mod notifications;
mod order;
mod orders;
mod query;
mod replays;
mod routes;
mod state;
mod ui;
mod viewer;

pub use routes::{own_router, routes};
