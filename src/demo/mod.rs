//! `wxpayd demo`: everything in one process on embedded defaults, and one payment from end to end, each step
//! printed.
//!
//! There is no short cut: the shop, the payer and finance use the same HTTP as any other client, WeChat is the
//! simulator on its own listener, and what is printed is read back from the database afterwards. While people try it,
//! the terminal goes on with what the feed tells. `/demo` is a checkout
//! page on the browser routes, for trying login and payment as a payer.

mod addresses;
mod checkout;
mod follow;
mod http;
mod run;
mod setup;
mod story;

pub use run::{Options, run};
