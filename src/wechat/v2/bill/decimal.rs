//! Yuan with five decimals, and rates in per cent: what fees are written in. Integers, no floats.

use std::fmt;

use crate::money::{AmountError, Fen};

/// Units of one yuan.
const PER_YUAN: i64 = 100_000;
/// Units of one fen.
const PER_FEN: i64 = 1000;
const DECIMALS: usize = 5;

/// An amount in units of 1/100,000 yuan, signed: fees of refunds are negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Yuan(i64);

impl Yuan {
    pub const ZERO: Yuan = Yuan(0);

    pub const fn from_units(units: i64) -> Yuan {
        Yuan(units)
    }

    /// In 1/100,000 yuan.
    pub const fn units(self) -> i64 {
        self.0
    }

    /// A bill's text (`0.60000`, `-0.18`, `45.0`, `1`); more than five decimals are refused.
    pub fn parse(text: &str) -> Result<Yuan, AmountError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let units = units(digits, DECIMALS)?;
        Ok(Yuan(if negative { -units } else { units }))
    }

    /// Nothing when it does not fit.
    pub fn of_fen(fen: Fen) -> Option<Yuan> {
        fen.as_i64().checked_mul(PER_FEN).map(Yuan)
    }

    /// Whole fen; nothing when there is a fraction of one.
    pub fn to_fen(self) -> Option<Fen> {
        (self.0 % PER_FEN == 0).then(|| Fen::from_i64(self.0 / PER_FEN))
    }

    /// Nothing when it does not fit.
    pub fn checked_add(self, other: Yuan) -> Option<Yuan> {
        self.0.checked_add(other.0).map(Yuan)
    }

    /// Whether `printed`, a text of this many decimals, is this amount, rounded to them: sums of fees are printed with
    /// two decimals where their addends have five. Fewer than two decimals count as two.
    pub(super) fn is_printed_as(self, printed: Yuan, decimals: usize) -> bool {
        let missing = DECIMALS.saturating_sub(decimals.max(2));
        let unit = (0..missing).fold(1_i64, |unit, _| unit * 10);
        self.0.checked_sub(printed.0).and_then(i64::checked_abs).is_some_and(|off| off.saturating_mul(2) < unit + 1)
    }
}

/// Always with five decimals, as in a bill.
impl fmt::Display for Yuan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, units, per_yuan) =
            (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs(), PER_YUAN.unsigned_abs());
        write!(f, "{sign}{}.{:05}", units / per_yuan, units % per_yuan)
    }
}

/// A rate in millionths: `0.60%` is 6000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(i64);

impl Rate {
    /// A bill's text (`0.60%`), of at most four decimals.
    pub fn parse(text: &str) -> Result<Rate, AmountError> {
        units(text.strip_suffix('%').ok_or(AmountError::Malformed)?, 4).map(Rate)
    }

    /// In 1/1,000,000.
    pub const fn millionths(self) -> i64 {
        self.0
    }

    /// The fee on an amount, rounded to whole fen, half a fen upwards. Nothing when it does not fit.
    pub fn fee_of(self, amount: Fen) -> Option<Yuan> {
        let (fen, million) = (i128::from(amount.as_i64()) * i128::from(self.0), 1_000_000_i128);
        let rounded = (fen.abs() + million / 2) / million * fen.signum();
        Yuan::of_fen(Fen::from_i64(i64::try_from(rounded).ok()?))
    }
}

impl Rate {
    /// The fee that a refund gives back, of a payment of `total` of which `before` went back already with the fees
    /// `given_back`: rounded as [`Rate::fee_of`] rounds, no more than is left of the payment's fee, and all of the rest
    /// by the refund that completes the payment. Nothing when it does not fit, or more went back than came in.
    pub fn fee_of_refund(self, total: Fen, before: Fen, given_back: Yuan, refund: Fen) -> Option<Yuan> {
        let after = before.checked_add(refund)?;
        if before < Fen::ZERO || refund < Fen::ZERO || after > total {
            return None;
        }
        let left = Yuan(self.fee_of(total)?.0.checked_sub(given_back.0)?);
        if after == total { Some(left) } else { Some(self.fee_of(refund)?.min(left)) }
    }
}

/// A decimal number without a sign, in units of `10^-decimals`.
fn units(text: &str, decimals: usize) -> Result<i64, AmountError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > decimals {
        return Err(AmountError::Malformed);
    }
    format!("{whole}{fraction:0<decimals$}").parse().map_err(|_| AmountError::OutOfRange)
}
