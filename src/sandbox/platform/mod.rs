//! WeChat's platform: `api.weixin.qq.com`, `open.weixin.qq.com` and the browser inside WeChat.
//!
//! Written from WeChat's rules and apart from the service's own client: the two must not share a mistake. Errors are
//! WeChat's `errcode`s in an HTTP 200. Nothing here outlives the process: after a restart every token, ticket and code
//! is unknown, as after a change of the app's secret.
//!
//! What must stay true: a code works once, for its own app, for five minutes; a token that was replaced is dead after
//! the overlap and says so; what was answered is counted, so that a test sees who asked for what, how often.
//!
//! | file | is |
//! |---|---|
//! | `api`, `request`, `answer`, `call` | the calls by name; what came; WeChat's words; how a call is executed |
//! | `state` | what the platform knows: apps, tokens, quotas, counts |
//! | `token_store`, `tokens` | access_tokens and tickets with their lives; the calls that give them |
//! | `quota`, `call_log` | daily and minute limits; who called what |
//! | `oauth/people` | who may sit at the browser, and their openids |
//! | `oauth/codes`, `oauth/logins` | what a login gives: codes that work once, a user's own tokens |
//! | `oauth/authorize`, `oauth/site` | the OAuth page and its consent; which pages an app may name |
//! | `oauth/sns`, `mini` | the login calls of an official account and of a mini program |
//! | `bridge/page`, `bridge/state`, `jweixin.js` | WeChat's browser: the script a page loads and what is behind it |
//! | `bridge/js_config`, `bridge/pay_check` | what `wx.config` and a payment block are checked for |
//!
//! `/_sandbox/platform/…`, acting as WeChat's operator and reading the counts, is in [`super::control`].

pub(in crate::sandbox) mod answer;
pub(in crate::sandbox) mod api;
pub(in crate::sandbox) mod bridge;
pub(in crate::sandbox) mod call;
pub(in crate::sandbox) mod call_log;
pub(in crate::sandbox) mod mini;
pub(in crate::sandbox) mod oauth;
pub(in crate::sandbox) mod quota;
pub(in crate::sandbox) mod request;
pub(in crate::sandbox) mod router;
pub(in crate::sandbox) mod state;
pub(in crate::sandbox) mod token_store;
pub(in crate::sandbox) mod tokens;

pub(in crate::sandbox) use api::Api;
pub(in crate::sandbox) use request::Peer;
pub(in crate::sandbox) use router::router;
pub(in crate::sandbox) use state::Platform;
