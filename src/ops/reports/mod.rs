//! Sheets for finance: the ledger, the day's figures and the day's lines, as CSV and XLSX; and months.
//!
//! What must stay true: a sheet of many rows is read in batches; the figures of a month that is closed are those of its
//! closing, whatever is recorded later.

mod cell;
mod close_month;
pub mod csv;
mod daily;
mod days;
mod detail;
mod ledger;
mod ledger_fees;
mod periods;
mod proof;
mod ready;
mod reconciled;
mod sheet;
pub mod xlsx;

pub use cell::{Cell, Language, time};
pub use close_month::{PeriodError, close_month, reopen_month};
pub use daily::daily_sheet;
pub use days::{CurrencyDay, DayRow, day_rows};
pub use detail::{DetailSource, Further, MAX_COLUMNS, detail_sheet};
pub use ledger::{LedgerLine, LedgerPage, LedgerPlace, Period, ledger_page, ledger_sheet, period_of, row_id, row_kind};
pub use ledger_fees::ledger_fees;
pub use periods::{
    AdjustedDay, Adjustment, Adjustments, CurrencySums, Figures, Month, PeriodView, adjustments, frozen_or_now, period,
};
pub use proof::{Proof, proof};
pub use ready::ready_to_close;
pub use reconciled::{DayState, MAX_DAYS, ReconciledDay, decimal as fee_text, reconciled};
pub use sheet::{Batch, FileKind, Sheet};
