//! wxpay-worker
pub mod bus;
pub mod clock;
pub mod config;
pub mod event;
pub mod group;
pub mod ids;
pub mod money;
pub mod order;
pub mod secret;
pub mod store;
pub mod wechat;
