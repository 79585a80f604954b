//! What WeChat reports about refunds without being asked.

mod console;
mod contradictions;
pub mod notifications;
