//! The browser side: pages inside WeChat and mini programs, under `/api/wechat`.
//!
//! Who is paying is never a parameter: WeChat tells us in exchange for a one-time code, and a sealed session carries it from
//! then on. What must stay true: an openid stands in no URL, log line or answer; a code is exchanged once however often its
//! address is opened; a browser is only ever sent to, and a page only ever signed for, an origin of the allow-list.
//!
//! The routes are open when `web.session_key` is configured, and answer `not_open` otherwise. Codes are the one thing for
//! which a request calls WeChat itself; access_tokens and tickets are read from the store, where the scheduler puts them.
//!
//! - Edge: `routes`, `doors` (who may call from where), `failure` and `page` (no, as JSON and for people), `parameters`,
//!   `cookies`, `limits`, `turns`, `shared`.
//! - Login: `login` (to WeChat), `pending` (what waits for the return), `arrival` (the return), `exchange` (once per code),
//!   `profile` (what is kept of a user), `rounds` (who logs in for ever), `session`.
//! - Pages: `jssdk`, `user_info`.
//! - Payment: `wallet`, `offered` (which order), `status`.
//! - Mini programs: `mini`, `phone`.

mod arrival;
mod cookies;
mod doors;
mod exchange;
mod failure;
mod jssdk;
mod limits;
mod login;
mod mini;
mod offered;
mod origins;
mod page;
mod parameters;
mod pending;
mod phone;
mod profile;
mod rounds;
mod routes;
mod session;
mod shared;
mod status;
mod turns;
mod user_info;
mod wallet;

pub use failure::{Failure, Reason};
pub use origins::Origins;
pub(super) use routes::routes;
pub(super) use shared::Browser;
