//! NATS is lost, cut off, or elects another leader.

mod cluster;
mod half_cut_off;
mod lost;
