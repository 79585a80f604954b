//! The integration tests, one binary: linking the library once is what keeps them fast.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod vectors;
mod wechat;
