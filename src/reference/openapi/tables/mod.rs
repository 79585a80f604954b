//! The tables, one file for what belongs together.

mod books;
mod browser;
mod common;
mod feed;
mod keys;
mod money;
mod operation_objects;
mod operations;
mod order_objects;
mod orders;
mod reconciliations;
mod replays;
mod service;
mod webhooks;

pub use books::SECTION as BOOKS;
pub use browser::SECTION as BROWSER;
pub use common::{SHARED, path_field};
pub use feed::SECTION as FEED;
pub use keys::SECTION as KEYS;
pub use money::SECTION as MONEY;
pub use operations::SECTION as OPERATIONS;
pub use orders::SECTION as ORDERS;
pub use reconciliations::SECTION as RECONCILIATIONS;
pub use replays::SECTION as REPLAYS;
pub use service::{NOTIFICATIONS, SERVICE};
pub use webhooks::SECTION as WEBHOOKS;
