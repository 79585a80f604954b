//! Each section's keys, types and bounds.

mod console;
mod reconcile;
mod sections;
mod storage;
mod webhooks;
mod wechat;

pub(super) use console::console;
pub(super) use reconcile::reconcile;
pub(super) use sections::{api_key, app, bus, log, merchant, orders, server, web};
pub(super) use storage::{retention, store};
pub(super) use webhooks::webhooks;
pub(super) use wechat::wechat;
