//! Messages about orders: record and submit, poll, close, new attempts.

mod answer;
pub(super) mod commands;
pub(super) mod poll;
pub(super) mod request;
pub(super) mod submit;
