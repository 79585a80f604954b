//! The sums of a trade bill, and whether its summary has them.

use super::cells::{Cells, Header};
use super::decimal::Yuan;
use super::error::{BillError, Flaw};
use crate::money::Fen;

/// Sums over the rows of a trade bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TradeTotals {
    pub payments: u64,
    /// Reversals included.
    pub refunds: u64,
    /// 应结订单总金额.
    pub settlement: Fen,
    /// 订单总金额: of the payments.
    pub order: Fen,
    /// 退款总金额.
    pub refunded: Fen,
    /// 充值券退款总金额.
    pub refunded_coupons: Fen,
    /// 申请退款总金额.
    pub requested: Fen,
    /// 手续费总金额: fees of payments less those of refunds.
    pub fee: Yuan,
}

/// The amounts of one row.
pub(super) struct Amounts {
    pub settlement: Fen,
    pub order: Fen,
    pub fee: Yuan,
    pub refund: Option<RefundAmounts>,
}

pub(super) struct RefundAmounts {
    pub amount: Fen,
    pub coupon: Fen,
    pub requested: Fen,
}

const COUNT: &[&str] = &["总交易单数"];
const SETTLEMENT: &[&str] = &["应结订单总金额", "总交易额"];
const ORDER: &[&str] = &["订单总金额", "总交易额"];
const REFUNDED: &[&str] = &["退款总金额", "总退款金额"];
const COUPONS: &[&str] = &["充值券退款总金额", "总代金券或立减优惠退款金额", "总企业红包退款金额"];
const REQUESTED: &[&str] = &["申请退款总金额"];
const FEE: &[&str] = &["手续费总金额", "返还手续费总金额"];

impl TradeTotals {
    pub const fn rows(&self) -> u64 {
        self.payments + self.refunds
    }

    /// Nothing when a sum does not fit.
    pub(super) fn add(&mut self, row: &Amounts) -> Option<()> {
        self.settlement = self.settlement.checked_add(row.settlement)?;
        self.order = self.order.checked_add(row.order)?;
        self.fee = self.fee.checked_add(row.fee)?;
        match &row.refund {
            None => self.payments += 1,
            Some(refund) => {
                self.refunds += 1;
                self.refunded = self.refunded.checked_add(refund.amount)?;
                self.refunded_coupons = self.refunded_coupons.checked_add(refund.coupon)?;
                self.requested = self.requested.checked_add(refund.requested)?;
            }
        }
        Some(())
    }

    /// A SUCCESS bill may have four columns here or seven; what the summary has must be right, and it must have a
    /// count, an amount and the fees.
    pub(super) fn compare(&self, summary: &Cells<'_>, header: &Header) -> Result<(), BillError> {
        counted(self.rows(), summary, header.require(COUNT)?)?;
        let order = header.find(ORDER)?;
        if order.is_none() {
            header.require(SETTLEMENT)?;
        }
        let sums = [
            (header.find(SETTLEMENT)?, self.settlement),
            (order, self.order),
            (header.find(REFUNDED)?, self.refunded),
            (header.find(COUPONS)?, self.refunded_coupons),
            (header.find(REQUESTED)?, self.requested),
        ];
        for (column, sum) in sums {
            if let Some(column) = column {
                summed(sum, summary, column)?;
            }
        }
        let column = header.require(FEE)?;
        let says = summary.yuan(column)?;
        let decimals = summary.text(column).trim().split_once('.').map_or(0, |(_, decimals)| decimals.len());
        if self.fee.is_printed_as(says, decimals) {
            return Ok(());
        }
        Err(BillError::Sum { name: summary.name(column), says, sum: self.fee })
    }
}

/// Whether a column of the summary has this amount.
pub(super) fn summed(sum: Fen, summary: &Cells<'_>, column: usize) -> Result<(), BillError> {
    let says = summary.yuan(column)?;
    let sum = Yuan::of_fen(sum).ok_or_else(|| summary.error(column, Flaw::SumTooLarge))?;
    if says == sum { Ok(()) } else { Err(BillError::Sum { name: summary.name(column), says, sum }) }
}

/// Whether a column of the summary has this number.
pub(super) fn counted(rows: u64, summary: &Cells<'_>, column: usize) -> Result<(), BillError> {
    let says = summary.count(column)?;
    if says == rows { Ok(()) } else { Err(BillError::Count { name: summary.name(column), says, rows }) }
}
