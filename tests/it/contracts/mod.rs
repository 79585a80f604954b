//! What every implementation of a port must do, and what one of them must do besides.

mod bus;
mod bus_jetstream;
mod store;
