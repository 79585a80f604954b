//! wxpay-worker
pub mod bus;
pub mod clock;
pub mod config;
pub mod crash;
pub mod event;
pub mod group;
pub mod ids;
pub mod money;
pub mod order;
pub mod relay;
pub mod retry;
pub mod scheduler;
pub mod secret;
pub mod store;
pub mod telemetry;
pub mod wechat;
pub mod worker;
