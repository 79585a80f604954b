//! Each section's keys, types and bounds.

mod console;
mod hazards;
pub(super) mod intake;
mod limits;
mod reconcile;
mod sections;
mod settling;
mod storage;
pub(super) mod typed;
mod web;
mod webhooks;
mod wechat;

pub(super) use console::console;
pub(super) use limits::limits;
pub(super) use reconcile::reconcile;
pub(super) use sections::{api_key, app, bus, log, merchant, orders, server};
pub(super) use storage::{retention, store};
pub(super) use web::web;
pub(super) use webhooks::webhooks;
pub(super) use wechat::wechat;
