//! Everything that travels: facts about the world, commands to workers, news to others.

mod bill;
pub mod command;
pub mod domain;
pub mod envelope;
pub mod fact;
pub mod json;
mod stored;
pub mod subject;
