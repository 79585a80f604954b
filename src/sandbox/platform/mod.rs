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
//! | `control` | `/_sandbox/platform/…`: acting as WeChat's operator, looking at the counts |

mod answer;
mod api;
mod call;
mod calls;
mod control;
mod quota;
mod router;
mod state;
mod tokens;
mod vault;

pub(super) use api::Api;
pub(super) use call::Peer;
pub(super) use router::router;
pub(super) use state::Platform;
