//! The checks of `wxpayctl doctor`: everything that can be known of an installation without the service.
//!
//! What must stay true: no check changes anything, each has a time limit, and no finding holds a secret. WeChat is
//! asked one content-free question per merchant; the database and NATS are only read.

mod books;
mod bus;
mod clock;
mod configuration;
mod database;
mod disk;
mod examine;
mod finding;
mod intake;
mod merchants;
mod notify_url;

pub use configuration::check as of_configuration;
pub use disk::{Space, of_space};
pub use examine::{Examined, examine};
pub use finding::{Finding, Status};
