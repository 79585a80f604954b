//! Everything that travels: facts about the world, commands to workers, news to others.

pub mod fact;
