//! What WeChat reports about refunds without being asked.

mod addresses;
mod console;
mod contradictions;
pub mod notifications;
mod partial_lists;
