//! wxpay-worker
pub mod clock;
pub mod config;
pub mod event;
pub mod ids;
pub mod money;
pub mod order;
pub mod sandbox;
pub mod secret;
pub mod wechat;
