//! The bus, embedded and on NATS.

mod at_once;
mod batches;
mod bundles;
mod delivery;
mod jetstream;
mod login;
mod parking;
mod peeked;
mod publishing;
mod pulls;
mod room;
mod rules;
mod together;
