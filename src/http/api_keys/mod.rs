//! API keys: the ones of the database as this process knows them, and what is noted of refused ones.

pub(super) mod refused;
pub(super) mod ring;
