//! Fund-flow bills: what WeChat booked on one of the merchant's accounts, with the balance after each entry.

use std::fmt;
use std::sync::Arc;

use super::cells::{Cells, Header, OtherCell};
use super::error::{BillError, Flaw};
use super::parser::Layout;
use super::request::{Ask, Expected};
use super::trade_totals::{counted, summed};
use crate::clock::Timestamp;
use crate::money::Fen;

/// The kind of bill; those of the three accounts have the same columns.
#[derive(Debug)]
pub enum FundFlows {}

/// An entry of the account. Whose doing it was, and what was remarked on it, may be about a person: `Debug` does not
/// show it.
#[derive(Clone, PartialEq, Eq)]
pub struct FundEntry {
    /// 记账时间.
    pub time: Timestamp,
    /// 微信支付业务单号: a `transaction_id` or a `refund_id`.
    pub business_no: Option<String>,
    /// 资金流水单号: of the entry itself.
    pub flow_no: String,
    /// 业务名称.
    pub name: String,
    /// 业务类型: 交易, 退款, 扣除交易手续费…, an open list.
    pub kind: String,
    pub direction: Direction,
    /// 收支金额.
    pub amount: Fen,
    /// 账户结余: after the entry.
    pub balance: Option<Fen>,
    /// 资金变更提交申请人.
    pub requested_by: String,
    /// 备注.
    pub remark: String,
    /// 业务凭证号: `out_trade_no` or `out_refund_no`.
    pub voucher_no: Option<String>,
    /// Columns that this program does not know.
    pub others: Vec<OtherCell>,
}

impl fmt::Debug for FundEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FundEntry")
            .field("time", &self.time)
            .field("business_no", &self.business_no)
            .field("flow_no", &self.flow_no)
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("direction", &self.direction)
            .field("amount", &self.amount)
            .field("balance", &self.balance)
            .field("voucher_no", &self.voucher_no)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

/// 收支类型.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// 收入.
    Income,
    /// 支出.
    Expense,
}

/// Sums over the entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FundTotals {
    pub incomes: u64,
    pub income: Fen,
    pub expenses: u64,
    pub expense: Fen,
}

/// Where the columns are.
pub struct Columns {
    time: usize,
    business_no: usize,
    flow_no: usize,
    name: Option<usize>,
    kind: usize,
    direction: usize,
    amount: usize,
    balance: Option<usize>,
    requested_by: Option<usize>,
    remark: Option<usize>,
    voucher_no: usize,
    others: Vec<(usize, Arc<str>)>,
}

impl Layout for FundFlows {
    type Line = FundEntry;
    type Totals = FundTotals;
    type Columns = Columns;
    const FIRST: &'static str = "记账时间";
    const SUMMARY: &'static str = "资金流水总笔数";

    fn columns(header: &Header) -> Result<Columns, BillError> {
        let mut columns = Columns {
            time: header.require(&["记账时间"])?,
            business_no: header.require(&["微信支付业务单号"])?,
            flow_no: header.require(&["资金流水单号"])?,
            name: header.find(&["业务名称"])?,
            kind: header.require(&["业务类型"])?,
            direction: header.require(&["收支类型"])?,
            amount: header.require(&["收支金额"])?,
            balance: header.find(&["账户结余"])?,
            requested_by: header.find(&["资金变更提交申请人"])?,
            remark: header.find(&["备注"])?,
            voucher_no: header.require(&["业务凭证号"])?,
            others: Vec::new(),
        };
        columns.others = header.others(&[
            Some(columns.time),
            Some(columns.business_no),
            Some(columns.flow_no),
            columns.name,
            Some(columns.kind),
            Some(columns.direction),
            Some(columns.amount),
            columns.balance,
            columns.requested_by,
            columns.remark,
            Some(columns.voucher_no),
        ]);
        Ok(columns)
    }

    fn read(columns: &Columns, cells: &Cells<'_>) -> Result<FundEntry, BillError> {
        Ok(FundEntry {
            time: cells.time(columns.time)?,
            business_no: cells.number(Some(columns.business_no)),
            flow_no: cells.required(columns.flow_no)?,
            name: cells.optional(columns.name).to_owned(),
            kind: cells.text(columns.kind).trim().to_owned(),
            direction: match cells.text(columns.direction).trim() {
                "收入" => Direction::Income,
                "支出" => Direction::Expense,
                _ => return Err(cells.error(columns.direction, Flaw::UnknownDirection)),
            },
            amount: cells.unsigned_fen(columns.amount)?,
            balance: match columns.balance {
                Some(column) if !cells.text(column).trim().is_empty() => Some(cells.fen(column)?),
                _ => None,
            },
            requested_by: cells.optional(columns.requested_by).to_owned(),
            remark: cells.optional(columns.remark).to_owned(),
            voucher_no: cells.number(Some(columns.voucher_no)),
            others: cells.others(&columns.others),
        })
    }

    fn suffice(expected: &Expected, _: &Columns) -> Result<(), Flaw> {
        if matches!(expected.ask, Ask::FundFlow { .. }) { Ok(()) } else { Err(Flaw::OtherBill) }
    }

    /// The rows name no merchant.
    fn check(expected: &Expected, entry: &FundEntry) -> Result<(), Flaw> {
        expected.check_day(entry.time)
    }

    fn add(totals: &mut FundTotals, entry: &FundEntry) -> Option<()> {
        let (count, sum) = match entry.direction {
            Direction::Income => (&mut totals.incomes, &mut totals.income),
            Direction::Expense => (&mut totals.expenses, &mut totals.expense),
        };
        *count += 1;
        *sum = sum.checked_add(entry.amount)?;
        Some(())
    }

    fn compare(totals: &FundTotals, summary: &Cells<'_>, header: &Header) -> Result<(), BillError> {
        counted(totals.incomes + totals.expenses, summary, header.require(&["资金流水总笔数"])?)?;
        counted(totals.incomes, summary, header.require(&["收入笔数"])?)?;
        summed(totals.income, summary, header.require(&["收入金额"])?)?;
        counted(totals.expenses, summary, header.require(&["支出笔数"])?)?;
        summed(totals.expense, summary, header.require(&["支出金额"])?)
    }
}
