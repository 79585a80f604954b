//! Messages that wait together travel as one on NATS, while a process reads such bundles; each has an end of its own.

mod apart;
mod parcels;
mod places;
mod support;
mod together;
