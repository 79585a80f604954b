//! The bus, embedded and on NATS.

mod delivery;
mod jetstream;
mod parking;
mod publishing;
mod rules;
