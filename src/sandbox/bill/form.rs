//! In which form bills are written: WeChat has several, and readers must not depend on one. Chosen by the tester.

use serde::{Deserialize, Serialize};

use super::spoil::Spoil;

/// The form of a merchant's bills. The default is that of today's real bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::sandbox) struct Form {
    /// The columns of merchants without the coupon feature: 24 of ALL, 18 of SUCCESS, 26 of REFUND.
    pub legacy: bool,
    /// The columns behind the first one in the opposite order.
    pub reversed: bool,
    /// A SUCCESS bill's summary of four columns, as WeChat's page has it, in place of seven.
    pub short_summary: bool,
    /// Amounts and sums as the oldest bills have them: `0.5`, `0`, the sum of fees with two decimals, the number of
    /// rows as `45.0`.
    pub short_numbers: bool,
    /// Full-width colons in times.
    pub wide_colons: bool,
    pub byte_order_mark: bool,
    /// Lines end with CRLF; otherwise with LF.
    pub crlf: bool,
    /// The last line ends like the others.
    pub last_line_ended: bool,
    /// What fund flows write behind the names of their amounts.
    pub unit: FundUnit,
    /// What makes a trade bill one that cannot be used.
    pub spoil: Spoil,
}

/// The brackets behind a name, and in what its amounts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum FundUnit {
    /// `（元）`.
    WideYuan,
    /// `(元)`.
    Yuan,
    /// Nothing: yuan.
    Unsaid,
    /// `(分)`.
    Fen,
}

impl Default for Form {
    fn default() -> Form {
        Form {
            legacy: false,
            reversed: false,
            short_summary: false,
            short_numbers: false,
            wide_colons: false,
            byte_order_mark: true,
            crlf: true,
            last_line_ended: true,
            unit: FundUnit::WideYuan,
            spoil: Spoil::None,
        }
    }
}

impl FundUnit {
    pub const fn brackets(self) -> &'static str {
        match self {
            FundUnit::WideYuan => "（元）",
            FundUnit::Yuan => "(元)",
            FundUnit::Unsaid => "",
            FundUnit::Fen => "(分)",
        }
    }
}
