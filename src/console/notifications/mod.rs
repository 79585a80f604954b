//! What was posted to the notification address: received, refused, parked.

mod list;
mod page;
mod words;

pub use list::list;
pub use page::{elements, get};
pub use words::{kind, verdict};
