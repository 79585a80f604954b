//! What one client can take from the others: connections, requests under way, bodies, files, memory.

mod connections;
mod process;
mod proxy;
