//! One payer: ending its sessions, erasing its data. Everything here calls `crate::ops`, and needs the scope `ops`.

pub(crate) mod erasures;
mod request;
pub(crate) mod sessions;
