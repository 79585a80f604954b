//! The daily sheet: a row for a merchant and a day, and further ones for other currencies than yuan and for what was
//! recorded on the day about a month that was closed before.
//!
//! What must stay true: the sheets of all months have every row of the ledger once.

use super::cell::{Cell, Language};
use super::days::{CurrencyDay, DayRow};
use super::periods::{AdjustedDay, CurrencySums, adjustments, frozen_or_now};
use super::sheet::Sheet;
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::reconciliation::YUAN;
use crate::store::{DbError, Store};

const ENGLISH: [&str; 14] = [
    "merchant",
    "day",
    "payments",
    "payments_amount",
    "refunds",
    "refunds_amount",
    "coupons",
    "fees",
    "net_settled",
    "differences",
    "differences_amount",
    "state",
    "currency",
    "adjusts",
];
const CHINESE: [&str; 14] = [
    "商户",
    "日期",
    "交易笔数",
    "交易金额",
    "退款笔数",
    "退款金额",
    "代金券",
    "手续费",
    "应结净额",
    "差异笔数",
    "差异金额",
    "状态",
    "货币",
    "调整日期",
];

/// The daily sheet of some merchants.
pub async fn daily_sheet(
    store: &Store,
    merchants: &[MerchantKey],
    (from, to): (Timestamp, Timestamp),
    (language, now): (Language, Timestamp),
) -> Result<Sheet, DbError> {
    let mut rows = Vec::new();
    for merchant in merchants {
        let mut adjusted = adjustments(store, merchant, (from, to)).await?.sums.into_iter().peekable();
        for row in frozen_or_now(store, merchant, (from, to), now).await? {
            rows.push(cells(merchant, &row, language));
            rows.extend(
                row.others.iter().map(|(currency, other)| other_cells(merchant, &row, (currency, other), language)),
            );
            while let Some((of, sums)) = adjusted.next_if(|(of, _)| of.day <= row.day) {
                rows.push(adjustment_cells(merchant, of, sums, language));
            }
        }
    }
    let of = if let [only] = merchants { only.as_str() } else { "all" };
    let last = Timestamp::from_ms(to.as_ms().saturating_sub(1));
    let (from, last) = (from.to_beijing_day(), last.to_beijing_day());
    Ok(Sheet {
        file_name: format!("daily-{of}-{from}-{last}"),
        tab: language.pick("每日对账", "Daily"),
        heads: language.pick(CHINESE, ENGLISH).map(str::to_owned).to_vec(),
        rows: Box::pin(futures_util::stream::iter([Ok(rows)])),
    })
}

/// How a day stands, and whether a note explains it as a whole, in the place of a comparison.
fn state(row: &DayRow, language: Language) -> String {
    let word = row.state.word(language);
    match &row.explained {
        Some(_) => format!("{word}{}", language.pick("（整日说明）", " as a whole")),
        None => word.to_owned(),
    }
}

fn cells(merchant: &MerchantKey, row: &DayRow, language: Language) -> Vec<Cell> {
    let decimal = |text: &Option<String>| text.clone().map_or(Cell::Empty, Cell::Decimal);
    vec![
        Cell::text(merchant.as_str()),
        Cell::Day(row.day.clone()),
        Cell::Count(row.payments),
        Cell::yuan(row.payments_fen),
        Cell::Count(row.refunds),
        Cell::yuan(row.refunds_fen),
        row.coupons_fen.map_or(Cell::Empty, Cell::yuan),
        decimal(&row.fees),
        decimal(&row.net),
        row.differences.map_or(Cell::Empty, Cell::Count),
        row.differences_fen.map_or(Cell::Empty, Cell::yuan),
        Cell::Text(state(row, language)),
        Cell::text(YUAN),
        Cell::Empty,
    ]
}

/// A further row of the day, for another currency.
fn other_cells(
    merchant: &MerchantKey,
    row: &DayRow,
    (currency, other): (&str, &CurrencyDay),
    language: Language,
) -> Vec<Cell> {
    let money = |fen: i64| Cell::Money(fen, currency.to_owned());
    let decimal = |text: &Option<String>| text.clone().map_or(Cell::Empty, Cell::Decimal);
    vec![
        Cell::text(merchant.as_str()),
        Cell::Day(row.day.clone()),
        Cell::Count(other.payments),
        money(other.payments_fen),
        Cell::Count(other.refunds),
        money(other.refunds_fen),
        other.coupons_fen.map_or(Cell::Empty, money),
        decimal(&other.fees),
        decimal(&other.net),
        // Lines are counted in the day's own row.
        Cell::Empty,
        other.differences_fen.map_or(Cell::Empty, money),
        Cell::Text(state(row, language)),
        Cell::text(currency),
        Cell::Empty,
    ]
}

/// What was recorded on a day about a day of a closed month: its own sheet does not have it.
fn adjustment_cells(merchant: &MerchantKey, of: AdjustedDay, sums: CurrencySums, language: Language) -> Vec<Cell> {
    let money = |fen: i64| Cell::Money(fen, of.currency.clone());
    let mut cells = vec![
        Cell::text(merchant.as_str()),
        Cell::Day(of.day),
        Cell::Count(sums.payments),
        money(sums.payments_fen),
        Cell::Count(sums.refunds),
        money(sums.refunds_fen),
    ];
    cells.extend(std::iter::repeat_n(Cell::Empty, 5));
    cells.extend([Cell::text(language.pick("调整", "adjustment")), Cell::text(of.currency), Cell::Day(of.adjusts)]);
    cells
}
