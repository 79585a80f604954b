//! The bus, embedded and on NATS.

mod delivery;
mod jetstream;
mod login;
mod parking;
mod peeked;
mod publishing;
mod room;
mod rules;
