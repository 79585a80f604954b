//! What finance asks and does: the books, the reconciliation with WeChat's bills, sheets, months.

mod args;
mod books;
mod export;
mod merchant;
mod periods;
mod reconcile;

pub use args::{PeriodsCommand, ReconcileCommand};
pub use books::{Between, LedgerArgs, balances, ledger};
pub use periods::periods;
pub use reconcile::reconcile;
