//! Money: whole fen, nothing else.
//!
//! WeChat speaks fen in its APIs and yuan with two decimals in its bills; both become [`Fen`] here. No float ever
//! touches an amount: `19.90 * 100` is `1989.9999…` in binary.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in fen (1/100 yuan). Signed, because bills carry negative rows; an order's amount is checked by
/// [`Fen::order_amount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fen(i64);

/// Why a text or a number is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a canonical decimal number (sign, exponent, blank, separator, leading zero, too many decimals).
    #[error("not an amount")]
    Malformed,
    /// A number, but outside the range the field allows.
    #[error("amount must be between 1 and {max} fen", max = Fen::ORDER_MAX.0)]
    OutOfRange,
}

impl Fen {
    /// Nothing.
    pub const ZERO: Fen = Fen(0);
    /// The largest amount of one order: 100 million yuan.
    pub const ORDER_MAX: Fen = Fen(10_000_000_000);

    /// Any amount, as stored in our own database.
    pub const fn from_i64(fen: i64) -> Fen {
        Fen(fen)
    }

    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// An amount that an order may have: 1 ..= [`Fen::ORDER_MAX`].
    pub fn order_amount(fen: i64) -> Result<Fen, AmountError> {
        if (1..=Fen::ORDER_MAX.0).contains(&fen) { Ok(Fen(fen)) } else { Err(AmountError::OutOfRange) }
    }

    /// A field like `total_fee` in a WeChat message: digits only, no sign, no leading zero, within `i64`.
    pub fn parse_field(text: &str) -> Result<Fen, AmountError> {
        let canonical =
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        if !canonical {
            return Err(AmountError::Malformed);
        }
        text.parse().map(Fen).map_err(|_| AmountError::OutOfRange)
    }

    /// A bill's yuan text (`12345678.90`, `45.0`, `-0.50`, `1`) as exact fen; more than two decimals are refused.
    pub fn from_yuan(text: &str) -> Result<Fen, AmountError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, cents) = digits.split_once('.').unwrap_or((digits, "00"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(cents) || cents.len() > 2 {
            return Err(AmountError::Malformed);
        }
        let whole: i64 = whole.parse().map_err(|_| AmountError::OutOfRange)?;
        let mut cents_value: i64 = cents.parse().map_err(|_| AmountError::Malformed)?;
        if cents.len() == 1 {
            cents_value *= 10;
        }
        let fen = whole.checked_mul(100).and_then(|f| f.checked_add(cents_value)).ok_or(AmountError::OutOfRange)?;
        Ok(Fen(if negative { -fen } else { fen }))
    }

    /// Sum, or nothing when it does not fit.
    pub fn checked_add(self, other: Fen) -> Option<Fen> {
        self.0.checked_add(other.0).map(Fen)
    }
}

/// Prints the number of fen, as WeChat's request fields want it.
impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
