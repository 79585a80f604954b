//! Webhooks: endpoints with how they are doing, one with its deliveries and attempts, and what a person does about
//! them.

pub mod act;
pub mod list;
pub mod page;
mod words;
