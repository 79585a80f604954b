//! Each section's keys, types and bounds.

mod console;
mod reconcile;
mod sections;
mod storage;

pub(super) use console::console;
pub(super) use reconcile::reconcile;
pub(super) use sections::{api_key, app, bus, log, merchant, orders, server, web, wechat};
pub(super) use storage::{retention, store};
