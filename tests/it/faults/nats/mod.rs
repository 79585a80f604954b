//! NATS is lost, cut off, or elects another leader.

pub mod bundles;
mod cluster;
mod half_cut_off;
mod lost;
pub mod spool;
mod spool_disk;
mod spool_left;
mod spool_torn;
