//! What is sorted and compared on a thread of its own.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::account::{AccountSums, add_refund_fees, sort_fees};
use super::bill_rows::{BillSums, sort_bill};
use super::codec::{write_fee, write_ledger};
use super::compare::{Pair, Sides, Summary, compare};
use super::error::RunError;
use super::folder::Folder;
use super::sorter::{Sorted, Sorter};
use crate::reconciliation::{Ids, LedgerItem, Rules};
use crate::store::{DayRange, Line, Reconciliation, Store};
use crate::wechat::v2::bill::Expected;

/// Rows of the database that are read at once.
const PAGE: u64 = 1000;
/// Pairs that are searched for at once.
const PAIRS: usize = 200;

/// A file, and which bill it must be.
type Bill = (PathBuf, Expected);

/// What was booked as the fee of a row, in 1/100,000 yuan.
pub(super) type BookedFee = (Ids, i64);

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
    /// Takes our side in pages, and then the fees that an earlier run found booked, which count where there is no bill
    /// of the account; gives the pairs that are not matched in parts.
    pub fn run(
        self,
        rows: mpsc::Receiver<Vec<LedgerItem>>,
        booked: mpsc::Receiver<Vec<BookedFee>>,
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
            Some(funds) => self.account(funds, refunds).map(|(account, fees)| (Some(account), fees))?,
            None => (None, self.booked(booked)?),
        };
        let mut part = Vec::with_capacity(PAIRS);
        let summary = compare(Sides { bill, ledger, fees: Some(fees) }, &self.rules, |pair| {
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

    fn booked(&self, mut pages: mpsc::Receiver<Vec<BookedFee>>) -> Result<Sorted, RunError> {
        let mut fees = self.sorter();
        while let Some(page) = pages.blocking_recv() {
            for (ids, fee) in page {
                fees.push(&ids.sort_key(), &write_fee(fee))?;
            }
        }
        Ok(fees.finish()?)
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

/// Reads our side in pages. Ends early where the other thread has failed: it says why.
pub(super) async fn send_ours(
    store: &Store,
    range: &DayRange,
    items: mpsc::Sender<Vec<LedgerItem>>,
) -> Result<(), RunError> {
    let mut after = None;
    loop {
        let (page, next) = store.day_payments(range, after, PAGE).await?;
        after = next;
        if next.is_none() || items.send(page).await.is_err() {
            break;
        }
    }
    let mut after = None;
    loop {
        let (page, next) = store.day_refunds(range, after, PAGE).await?;
        after = next;
        if next.is_none() || items.send(page).await.is_err() {
            return Ok(());
        }
    }
}

/// What was booked as fees, as far as the result before says. Of what it says nothing, the fees were right.
pub(super) async fn send_booked(
    store: &Store,
    before: Option<&Reconciliation>,
    fees: mpsc::Sender<Vec<BookedFee>>,
) -> Result<(), RunError> {
    let Some(before) = before else { return Ok(()) };
    let mut after = 0;
    loop {
        let lines = store.booked_lines(before, after, PAGE).await?;
        let Some(last) = lines.last() else { return Ok(()) };
        after = last.id;
        if fees.send(lines.into_iter().filter_map(booked_fee).collect()).await.is_err() {
            return Ok(());
        }
    }
}

fn booked_fee(line: Line) -> Option<BookedFee> {
    let ids = Ids {
        kind: line.kind,
        transaction_id: line.transaction_id,
        out_trade_no: line.out_trade_no.unwrap_or_default(),
        refund_no: line.refund_no,
        refund_id: line.refund_id,
    };
    Some((ids, line.booked_fee?))
}
