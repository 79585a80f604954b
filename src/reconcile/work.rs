//! What is sorted and compared on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::account::{AccountSums, add_refund_fees, sort_fees};
use super::bill_rows::{BillSums, sort_bill};
use super::codec::write_ledger;
use super::compare::{Pair, Sides, Summary, compare};
use super::error::RunError;
use super::folder::Folder;
use super::sorter::{Sorted, Sorter};
use crate::reconciliation::{LedgerItem, Rules};
use crate::wechat::v2::bill::Expected;

/// Pairs that are searched for at once.
const PAIRS: usize = 200;

/// A file, and which bill it must be.
type Bill = (PathBuf, Expected);

/// The bills of a day, and where their rows are sorted.
pub(super) struct Work {
    pub folder: Arc<Folder>,
    pub buffer: usize,
    pub trades: Option<Bill>,
    pub funds: Option<Bill>,
    pub rules: Rules,
}

/// What the pass came to.
pub(super) struct Worked {
    pub summary: Summary,
    pub bill: BillSums,
    pub account: Option<AccountSums>,
}

impl Work {
    /// Takes our side in pages, and gives the pairs that are not matched in parts.
    pub fn run(
        self,
        rows: mpsc::Receiver<Vec<LedgerItem>>,
        found: mpsc::Sender<Vec<Pair>>,
    ) -> Result<Worked, RunError> {
        // Both sides at once: one waits for the database, the other one is read from a file.
        let (ledger, bill) = std::thread::scope(|scope| {
            let bill = scope.spawn(|| self.bill());
            (self.ledger(rows), bill.join())
        });
        let (bill, refunds, sums) = bill.map_err(|_| RunError::Ended)??;
        let ledger = ledger?;
        let (account, fees) = match &self.funds {
            Some(funds) => self.account(funds, refunds).map(|(account, fees)| (Some(account), Some(fees)))?,
            None => (None, None),
        };
        let mut part = Vec::with_capacity(PAIRS);
        let summary = compare(Sides { bill, ledger, fees }, &self.rules, |pair| {
            part.push(pair);
            if part.len() == PAIRS {
                let full = std::mem::replace(&mut part, Vec::with_capacity(PAIRS));
                found.blocking_send(full).map_err(|_| RunError::Ended)?;
            }
            Ok(())
        })?;
        if !part.is_empty() {
            found.blocking_send(part).map_err(|_| RunError::Ended)?;
        }
        Ok(Worked { summary, bill: sums, account })
    }

    fn sorter(&self) -> Sorter {
        Sorter::new(Arc::clone(&self.folder), self.buffer)
    }

    /// The bill's rows, its refunds by WeChat's number where the account's bill is there, and its sums.
    fn bill(&self) -> Result<(Sorted, Option<Sorter>, BillSums), RunError> {
        let mut bill = self.sorter();
        let mut refunds = self.funds.is_some().then(|| self.sorter());
        let sums = match &self.trades {
            Some((file, expected)) => sort_bill(file, expected.clone(), &mut bill, refunds.as_mut())?,
            None => BillSums::new(),
        };
        Ok((bill.finish()?, refunds, sums))
    }

    fn ledger(&self, mut rows: mpsc::Receiver<Vec<LedgerItem>>) -> Result<Sorted, RunError> {
        let mut ledger = self.sorter();
        while let Some(page) = rows.blocking_recv() {
            for item in page {
                ledger.push(&item.ids.sort_key(), &write_ledger(&item))?;
            }
        }
        Ok(ledger.finish()?)
    }

    /// The account's sums, and the fees that were booked.
    fn account(&self, (file, expected): &Bill, refunds: Option<Sorter>) -> Result<(AccountSums, Sorted), RunError> {
        let (mut fees, mut booked) = (self.sorter(), self.sorter());
        let account = sort_fees(file, expected.clone(), &mut fees, &mut booked)?;
        if let Some(refunds) = refunds {
            add_refund_fees(refunds.finish()?, booked.finish()?, &mut fees)?;
        }
        Ok((account, fees.finish()?))
    }
}
