//! Messages about orders: record and submit, poll, close, new attempts.

mod answer;
mod by_app;
mod claim;
pub(super) mod claim_group;
pub(super) mod commands;
mod corrected;
pub(super) mod here;
pub(super) mod poll;
pub(super) mod request;
pub(super) mod submit;
