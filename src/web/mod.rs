//! The browser side: pages inside WeChat and mini programs, under `/api/wechat`.
//!
//! The payer's identity is never a parameter: WeChat gives it in exchange for a one-time code, and a sealed session
//! carries it from then on. What must stay true: an openid stands in no URL, log line or answer; a code is exchanged
//! once however often its address is opened; a browser is only ever sent to, and a page only ever signed for, an origin
//! of the allow-list.
//!
//! The routes are open when `web.session_key` is configured, and answer `not_open` otherwise. Codes are the one thing
//! for which a request calls WeChat itself; access_tokens and tickets are read from the store, where the scheduler puts
//! them.
//!
//! - Edge: `routes`, `cors`, `envelope` and `error_page` (errors as JSON and for people), `parameters`, `cookies`,
//!   `limits`, `striped_lock`, `state`.
//! - `oauth`: redirect to WeChat, state, callback, code exchange, profile, login loop guard; `session`.
//! - `wallet`: which order a click gets, and its pay parameters; `status`.
//! - `mini`: mini programs. `page`: our own pages, and `jssdk` that signs for them. `user_info`.

mod cookies;
mod cors;
mod envelope;
mod error_page;
mod limits;
mod logout;
mod mini;
mod oauth;
mod page;
mod parameters;
mod routes;
mod session;
mod state;
mod status;
mod striped_lock;
mod user_info;
mod wallet;

pub use envelope::{Failure, Reason};
pub use page::origins::Origins;
pub use routes::routes;
