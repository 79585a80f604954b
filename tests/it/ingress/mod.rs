//! The HTTP ingress over a real socket, a SQLite file and the embedded bus.

mod client;
mod feed;
mod health;
mod hostile;
mod notify;
mod orders;
mod schemas;
mod stage;
mod streams;
mod waiting;
