//! WeChat's platform: `api.weixin.qq.com`, `open.weixin.qq.com` and the browser inside WeChat.
//!
//! Written from WeChat's rules and apart from the service's own client: the two must not share a mistake. Errors are
//! WeChat's `errcode`s in an HTTP 200. Nothing here outlives the process: after a restart every token, ticket and code is
//! unknown, as after a change of the app's secret.
//!
//! What must stay true: a code works once, for its own app, for five minutes; a token that was replaced is dead after
//! the overlap and says so; what was answered is counted, so that a test sees who asked for what, how often.
//!
//! | file | is |
//! |---|---|
//! | `api`, `answer`, `call` | the calls by name; WeChat's words; one call from its bytes to its answer, faults included |
//! | `state` | what the platform knows: apps, vault, quotas, counts |
//! | `vault`, `tokens` | access_tokens and tickets with their lives; the calls that give them |
//! | `quota`, `calls` | daily and minute limits; who called what |
//! | `people` | who may sit at the browser, and their openids |
//! | `codes`, `logins` | what a login gives: codes that work once, a user's own tokens |
//! | `authorize`, `site` | the OAuth page and its consent; which pages an app may name |
//! | `sns`, `mini` | the login calls of an official account and of a mini program |
//! | `bridge`, `bridge_state`, `jweixin.js` | WeChat's browser: the script a page loads and what stands behind it |
//! | `js_config`, `pay_check` | what `wx.config` and a payment block are checked for |
//! | `control`, `control_people` | `/_sandbox/platform/…`: acting as WeChat's operator, looking at the counts |

mod answer;
mod api;
mod authorize;
mod bridge;
mod bridge_state;
mod call;
mod calls;
mod codes;
mod control;
mod control_people;
mod js_config;
mod logins;
mod mini;
mod pay_check;
mod people;
mod quota;
mod router;
mod site;
mod sns;
mod state;
mod tokens;
mod vault;

pub(super) use api::Api;
pub(super) use call::Peer;
pub(super) use router::router;
pub(super) use state::Platform;
