//! Calls to WeChat that are refused, throttled, unanswered, or answered by one of two hosts.

mod backup_host;
mod doubtful;
mod first_call;
mod hanging_host;
mod paced;
mod unanswered;
mod words;
mod wrong_app;
mod wrong_setup;
