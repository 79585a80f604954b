//! Reconciliation of a merchant's day: its bills are fetched, both sides are sorted and compared, and the result is
//! stored.
//!
//! What must stay true: memory is the sorters' buffers and a few pages, whatever the number of rows; a run that fails
//! leaves the result before it; files in the temporary folder are gone when the run is, however it ends. A bill moves
//! no money.
//!
//! | file | is |
//! |---|---|
//! | `fetch` | a day's bills, into files |
//! | `sorter`, `codec` | an external merge sort; rows as its bytes |
//! | `fees` | what a bill says of the fee of each row, for sheets |
//! | `folder` | the files of a run, removed with it |
//! | `bill_rows` | a bill's rows for the sorter, and its sums per currency |
//! | `compare` | one pass over both sides: pairs that are not matched |
//! | `account` | the entries of the account, their fees, and whether its loop closes |
//! | `work` | what happens on a thread of its own |
//! | `elsewhere` | rows of one side, searched on other days |
//! | `run` | a day's run, from the bill to the result |
//! | `timetable` | when a bill is asked for, and again |

mod account;
mod bill_rows;
mod codec;
mod compare;
mod elsewhere;
mod error;
mod fees;
mod fetch;
mod folder;
mod news;
mod run;
mod sorter;
mod timetable;
mod work;

pub use codec::{write_bill, write_ledger};
pub use compare::{Pair, Sides, Summary, compare};
pub use error::RunError;
pub use fees::BillFees;
pub use fetch::{FetchedBill, fetch_bill};
pub use folder::Folder;
pub use run::{Ran, Reconciler, reconcile};
pub use sorter::{Sorted, Sorter};
pub use timetable::{days_to_ask, has_missed_noon, newest_missed, next_funds_try, next_try, oldest};
