//! The first hour of an integrator: a configuration that is written, README's shortest way to a paid order, a simulator
//! that is set up by one address, PostgreSQL with two roles.

mod deployed;
mod readme;
mod roles;
mod sandbox_url;
mod simulator;
mod written;
