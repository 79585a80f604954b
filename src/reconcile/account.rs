//! The entries of the basic account: the fees that were booked, and whether the account's loop closes.

use std::io;
use std::path::Path;

use super::bill_rows::read;
use super::codec::{read_fee, read_refund, write_fee};
use super::error::RunError;
use super::sorter::{Sorted, Sorter};
use crate::reconciliation::{BillFigures, FundsLoop};
use crate::wechat::v2::bill::{Direction, Expected, FundEntry, FundFlows};

/// 1/100,000 yuan in a fen.
const PER_FEN: i64 = 1000;
/// The kind of an entry for a refund.
const REFUND: &str = "退款";

/// Sums over the entries, in fen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct AccountSums {
    entries: i64,
    income: i64,
    expense: i64,
    trades: i64,
    refunds: i64,
    fees: i64,
    opening: Option<i64>,
    closing: Option<i64>,
    /// An entry has no balance.
    has_gap: bool,
}

impl AccountSums {
    fn add(&mut self, entry: &FundEntry) {
        let fen = entry.amount.as_i64();
        let signed = match entry.direction {
            Direction::Income => fen,
            Direction::Expense => -fen,
        };
        let sum = match entry.direction {
            Direction::Income => &mut self.income,
            Direction::Expense => &mut self.expense,
        };
        *sum = sum.saturating_add(fen);
        match (entry.kind.as_str(), entry.direction) {
            (kind, _) if kind.contains("手续费") => self.fees = self.fees.saturating_sub(signed),
            ("交易", Direction::Income) => self.trades = self.trades.saturating_add(fen),
            (REFUND, Direction::Expense) => self.refunds = self.refunds.saturating_add(fen),
            _ => {}
        }
        match entry.balance.map(|balance| balance.as_i64()) {
            Some(balance) => {
                if self.entries == 0 {
                    self.opening = Some(balance.saturating_sub(signed));
                }
                self.closing = Some(balance);
            }
            None => self.has_gap = true,
        }
        self.entries += 1;
    }

    /// Against the trade bill of the same day. What goes back of a refund is booked less its fee.
    pub fn against(&self, bill: &BillFigures) -> FundsLoop {
        let expected_fen = bill.settlement_fen.saturating_sub(bill.fees / PER_FEN);
        let booked_fen = self.trades.saturating_sub(self.refunds).saturating_sub(self.fees);
        let net = self.income.saturating_sub(self.expense);
        let balances = self.opening.zip(self.closing).filter(|_| !self.has_gap);
        FundsLoop {
            expected_fen,
            booked_fen,
            // Fees have five decimals in the trade bill, and two on the account.
            holds: expected_fen == booked_fen,
            entries: self.entries,
            income_fen: self.income,
            expense_fen: self.expense,
            other_fen: net.saturating_sub(booked_fen),
            opening_fen: balances.map(|(opening, _)| opening),
            closing_fen: balances.map(|(_, closing)| closing),
            balance_holds: balances.map(|(opening, closing)| opening.saturating_add(net) == closing),
        }
    }
}

/// Sorts the fees of payments by the key of their payment, and into `refunds` what was booked of refunds by WeChat's
/// number; answers the sums.
pub(super) fn sort_fees(
    file: &Path,
    expected: Expected,
    fees: &mut Sorter,
    refunds: &mut Sorter,
) -> Result<AccountSums, RunError> {
    let mut sums = AccountSums::default();
    let mut failed: Option<io::Error> = None;
    read::<FundFlows>(file, expected, |entry| {
        sums.add(&entry);
        let Some(number) = entry.business_no.as_ref().filter(|_| failed.is_none()) else { return };
        let fen = entry.amount.as_i64();
        let is_expense = entry.direction == Direction::Expense;
        if entry.kind.contains("手续费") {
            let fee = fen.saturating_mul(PER_FEN);
            // The key of a payment, as both other sides have it.
            let key = [number.as_bytes(), &[0]].concat();
            failed = fees.push(&key, &write_fee(if is_expense { fee } else { -fee })).err();
        } else if entry.kind == REFUND && is_expense {
            failed = refunds.push(number.as_bytes(), &write_fee(fen)).err();
        }
    })?;
    failed.map_or(Ok(sums), |e| Err(e.into()))
}

/// Adds the fees of refunds by the key of their row: a refund is booked less the fee that WeChat gives back. Both sides
/// are in the order of WeChat's numbers. A refund that was not booked on this day has no fee to compare with.
pub(super) fn add_refund_fees(mut bill: Sorted, mut booked: Sorted, fees: &mut Sorter) -> Result<(), RunError> {
    let mut next = booked.read()?;
    while let Some((number, row)) = bill.read()? {
        let mut sum: Option<i64> = None;
        while let Some((at, amount)) = next.take() {
            if at > number {
                next = Some((at, amount));
                break;
            }
            if at == number {
                sum = Some(sum.unwrap_or(0).saturating_add(read_fee(&amount)?));
            }
            next = booked.read()?;
        }
        if let Some(booked_fen) = sum {
            let (settlement_fen, key) = read_refund(&row)?;
            let back = settlement_fen.saturating_sub(booked_fen).saturating_mul(PER_FEN);
            fees.push(key, &write_fee(-back))?;
        }
    }
    Ok(())
}
