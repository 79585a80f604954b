//! Whether the books agree with each other: orders, both ledgers, the outbox and the feed, per merchant and day.
//!
//! `compare` decides about rows, `check` reads a range, `days` knows which days are due. What must stay true: nothing
//! here changes anything but the results of days; a day costs its own rows; what retention removed is no finding.

mod check;
mod compare;
mod days;
mod finding;

pub use check::{Checked, check};
pub use days::{Plan, Ran, all_merchants, check_day, due_days, open_days, plan, run_due};
pub use finding::{BookFinding, BookRule};
