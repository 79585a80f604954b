//! A day's sums, its three loops, and its state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::line::{LineClass, NewLine};
use super::side::YUAN;

/// How many lines there are of each class; of those that there are.
pub type Classes = BTreeMap<String, i64>;

/// The bill's sums of one currency. Amounts in its smallest unit, fees in 1/100,000 of its main one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BillFigures {
    pub payments: i64,
    pub refunds: i64,
    /// 订单总金额.
    pub payments_fen: i64,
    /// 申请退款总金额.
    pub refunds_fen: i64,
    /// 代金券: of the payments.
    pub coupons_fen: i64,
    /// 应结净额 before fees: 应结订单总金额 less 退款总金额.
    pub settlement_fen: i64,
    pub fees: i64,
}

/// Our sums of the same day and currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LedgerFigures {
    pub payments: i64,
    pub refunds: i64,
    pub payments_fen: i64,
    pub refunds_fen: i64,
}

/// Trades and our books.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TradesLoop {
    /// Nothing is open and nothing remains.
    pub holds: bool,
}

/// What was booked on the account, and its balance. Amounts in fen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FundsLoop {
    /// Trades less refunds less fees, by the trade bill.
    pub expected_fen: i64,
    /// The same, as booked on the account.
    pub booked_fen: i64,
    /// Whether both are the same.
    pub holds: bool,
    pub entries: i64,
    pub income_fen: i64,
    pub expense_fen: i64,
    /// What was booked for other reasons: withdrawals, refunds that came back…
    pub other_fen: i64,
    pub opening_fen: Option<i64>,
    pub closing_fen: Option<i64>,
    /// Whether the closing balance is the opening one with all that was booked; none where the bill has no balances.
    pub balance_holds: Option<bool>,
}

/// The three loops, as far as they can be seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Loops {
    #[serde(default)]
    pub trades: TradesLoop,
    /// None where the account's bill was not fetched.
    #[serde(default)]
    pub funds: Option<FundsLoop>,
    /// Why it was not.
    #[serde(default)]
    pub funds_error: Option<String>,
}

/// Both sides in one currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CurrencyFigures {
    pub bill: BillFigures,
    pub ledger: LedgerFigures,
    /// What all lines explain together.
    pub explained_fen: i64,
    /// 差异金额: the amounts of lines that must be explained, whatever the direction.
    pub difference_fen: i64,
}

impl CurrencyFigures {
    /// The bill's total less what the lines explain less ours.
    pub const fn unexplained_fen(&self) -> i64 {
        let bill = self.bill.payments_fen - self.bill.refunds_fen;
        let ledger = self.ledger.payments_fen - self.ledger.refunds_fen;
        bill - self.explained_fen - ledger
    }
}

/// The figures of currencies other than yuan.
pub type Others = BTreeMap<String, CurrencyFigures>;

/// All that a run found but for its lines. Nothing is added up across currencies.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    pub yuan: CurrencyFigures,
    pub others: Others,
    pub classes: Classes,
    /// Lines that must be explained.
    pub differences: i64,
    /// Lines that are not.
    pub open_lines: i64,
}

/// Currencies that have a remainder.
pub fn remainders(others: &Others) -> i64 {
    let red = others.values().filter(|figures| figures.unexplained_fen() != 0).count();
    i64::try_from(red).unwrap_or(i64::MAX)
}

impl Figures {
    /// The figures of a currency.
    pub fn of(&mut self, currency: &str) -> &mut CurrencyFigures {
        if currency == YUAN { &mut self.yuan } else { self.others.entry(currency.to_owned()).or_default() }
    }

    /// What is left in yuan or, where nothing is, how many other currencies have a remainder; 0 where none has.
    pub fn remainder(&self) -> i64 {
        match self.yuan.unexplained_fen() {
            0 => remainders(&self.others),
            fen => fen,
        }
    }

    /// Counts what a line explains.
    pub fn explain(&mut self, line: &NewLine) {
        let is_difference = line.verdict.class.is_difference();
        self.count(line.verdict.class, 1);
        self.differences += i64::from(is_difference);
        for (currency, fen) in line.explains() {
            let figures = self.of(&currency);
            figures.explained_fen = figures.explained_fen.saturating_add(fen);
            if is_difference {
                figures.difference_fen = figures.difference_fen.saturating_add(fen.saturating_abs());
            }
        }
    }

    /// Counts a line.
    pub fn count(&mut self, class: LineClass, lines: i64) {
        *self.classes.entry(class.as_str().to_owned()).or_default() += lines;
    }
}

/// How a day with a result stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DayState {
    /// Only matched and carried lines.
    Balanced,
    /// There are differences, and each is resolved, repaired or covered by a rule.
    Explained,
    /// A difference is open, or a remainder is left.
    Red,
}

named!(DayState { Balanced = "balanced", Explained = "explained", Red = "red" });

/// From a day's counts, and what is left in any currency.
pub const fn day_state(differences: i64, open_lines: i64, remainder: i64) -> DayState {
    if open_lines > 0 || remainder != 0 {
        DayState::Red
    } else if differences > 0 {
        DayState::Explained
    } else {
        DayState::Balanced
    }
}
