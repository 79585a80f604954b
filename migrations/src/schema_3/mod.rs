//! The steps since rows may be packed.

pub mod m20261130_000020_packed;
