//! What pages are written with: amounts, times, states and identifiers, each a small template of its own.

pub mod choice;
pub mod curl;
pub mod facts;
pub mod id;
pub mod money;
pub mod reason;
pub mod status;
pub mod time;
