//! What a bill and our books say of the same money, compared: pure, without a runtime, a database or a clock.
//!
//! What must stay true: every row of either side is in exactly one pair; a pair that is not matched has exactly one
//! class, and what it explains is the bill's amount less ours. So the bill's total less all that is explained is our
//! total in every currency, and whatever remains is shown. Nothing is added up across currencies.
//!
//! | file | is |
//! |---|---|
//! | `side` | a row of the bill, a row of ours, and their common key |
//! | `line` | classes, resolutions, and a difference with both sides |
//! | `classify` | which class a pair has |
//! | `figures` | a day's sums, its three loops, and its state |

mod classify;
mod figures;
mod line;
mod side;

pub use classify::{Booked, Found, Rules, both, only_in_bill, only_in_ledger, repeated};
pub use figures::{
    BillFigures, Classes, CurrencyFigures, DayState, Figures, FundsLoop, LedgerFigures, Loops, Others, TradesLoop,
    day_state, remainders,
};
pub use line::{LineClass, NewLine, Resolution, Verdict};
pub use side::{BillItem, BillSide, Ids, LedgerItem, LedgerSide, LineKind, YUAN};
