//! wxpay-worker
pub mod clock;
pub mod config;
pub mod event;
pub mod ids;
pub mod money;
pub mod order;
pub mod retry;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod wechat;
