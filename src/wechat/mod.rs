//! WeChat's protocol: what goes over the wire and what it means. Knows no store, no bus.

pub mod v2;
