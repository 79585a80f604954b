//! What one client can take from the others: connections, requests under way, bodies, files, memory.

mod bodies;
mod connections;
mod notify_listener;
mod process;
mod proxy;
