//! Pages of the ledger with the running balance, each row with the month that it counts in.
//!
//! A cursor carries the balance that its page ended with: the next page goes on from there and sums nothing up.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt;
use futures_util::stream::try_unfold;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Language};
use super::ledger_fees::ledger_fees;
use super::reconciled::decimal;
use super::sheet::Sheet;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::store::{Balances, BookKey, BookRange, BookRow, ClosedMonth, DbError, Store};

/// The place behind a row, and the balances there.
#[derive(Debug, Clone)]
pub struct LedgerPlace {
    pub key: BookKey,
    pub balances: Balances,
}

/// A cursor, before it is made opaque.
#[derive(Serialize, Deserialize)]
struct Written {
    at: i64,
    refund: bool,
    id: i64,
    balances: Balances,
}

impl LedgerPlace {
    pub fn parse(text: &str) -> Result<LedgerPlace, &'static str> {
        let decoded = URL_SAFE_NO_PAD.decode(text).ok();
        let written: Option<Written> = decoded.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let written = written.filter(|w| w.at >= 0 && w.id >= 0).ok_or("must be a cursor that an earlier page gave")?;
        let key = BookKey { at: Timestamp::from_ms(written.at), is_refund: written.refund, id: written.id };
        Ok(LedgerPlace { key, balances: written.balances })
    }

    pub fn to_text(&self) -> String {
        let (key, balances) = (self.key, self.balances.clone());
        let written = Written { at: key.at.as_ms(), refund: key.is_refund, id: key.id, balances };
        // Texts and numbers alone: there is always a JSON form.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&written).unwrap_or_default())
    }
}

/// The month that a row counts in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    /// `2026-11`.
    pub month: String,
    /// The day of a month that was closed before the row was recorded.
    pub adjusts: Option<String>,
}

/// A row, the balance of its currency behind it, and its month.
#[derive(Debug, Clone)]
pub struct LedgerLine {
    pub row: BookRow,
    pub balance_fen: i64,
    pub period: Period,
}

pub struct LedgerPage {
    pub lines: Vec<LedgerLine>,
    /// Behind the last row, where others may follow.
    pub next: Option<LedgerPlace>,
}

impl LedgerPage {
    pub fn rows(&self) -> Vec<&BookRow> {
        self.lines.iter().map(|line| &line.row).collect()
    }
}

/// The page behind a place, or the first one.
pub async fn ledger_page(
    store: &Store,
    range: &BookRange,
    after: Option<LedgerPlace>,
    limit: u64,
) -> Result<LedgerPage, DbError> {
    let closed = store.closed_months(&range.merchant).await?;
    let after_key = after.as_ref().map(|place| place.key);
    let mut balances = match after {
        Some(place) => place.balances,
        None => store.balances_before(&range.merchant, range.from).await?,
    };
    let found = store.book_rows(range, after_key, limit).await?;
    let is_full = found.len() as u64 >= limit;
    let mut lines = Vec::with_capacity(found.len());
    for row in found {
        let balance = balances.entry(row.currency.clone()).or_default();
        *balance = balance.saturating_add(row.change_fen);
        let (balance_fen, period) = (*balance, period_of(row.billed_at, row.key.at, &closed));
        lines.push(LedgerLine { row, balance_fen, period });
    }
    let next = lines.last().filter(|_| is_full).map(|line| LedgerPlace { key: line.row.key, balances });
    Ok(LedgerPage { lines, next })
}

/// A fact counts in the month of its day, unless that month was closed before the fact was recorded: then in the month
/// of its recording, which is open. The day is that of WeChat's bill, by which the figures of a month go: a refund has
/// the day of its acceptance, whenever it ended.
pub fn period_of(billed_at: Timestamp, recorded_at: Timestamp, closed: &[ClosedMonth]) -> Period {
    let day = billed_at.to_beijing_day();
    let own = &day[..7];
    let is_late = closed.iter().any(|month| month.month == own && recorded_at >= month.cut_at);
    if is_late {
        return Period { month: recorded_at.to_beijing_day()[..7].to_owned(), adjusts: Some(day) };
    }
    Period { month: own.to_owned(), adjusts: None }
}

/// The id of a row: it is the same in every answer.
pub fn row_id(row: &BookRow) -> String {
    format!("{}{}", if row.key.is_refund { 'r' } else { 'p' }, row.key.id)
}

pub const fn row_kind(row: &BookRow) -> &'static str {
    if row.key.is_refund { "refund" } else { "payment" }
}

const ENGLISH: &[&str] = &[
    "id",
    "recorded_at",
    "occurred_at",
    "kind",
    "entry",
    "from_class",
    "class",
    "reason",
    "merchant",
    "order_no",
    "out_trade_no",
    "transaction_id",
    "refund_no",
    "refund_id",
    "amount",
    "change",
    "balance",
    "currency",
    "fee",
    "evidence",
    "by",
    "period",
    "adjusts",
];
const CHINESE: &[&str] = &[
    "编号",
    "记账时间",
    "交易时间",
    "类型",
    "分录",
    "原类别",
    "类别",
    "原因",
    "商户",
    "业务订单号",
    "商户订单号",
    "微信订单号",
    "商户退款单号",
    "微信退款单号",
    "金额",
    "变动",
    "余额",
    "货币",
    "手续费",
    "凭证",
    "操作人",
    "所属月份",
    "调整日期",
];

/// The heads of the ledger as a sheet.
const fn ledger_heads(language: Language) -> &'static [&'static str] {
    match language {
        Language::English => ENGLISH,
        Language::Chinese => CHINESE,
    }
}

/// Rows of a file that are in memory at once.
const CHUNK: u64 = 1000;

/// All rows of a range behind `after`.
pub fn ledger_sheet(
    (config, store): (Arc<Config>, Store),
    range: BookRange,
    after: Option<LedgerPlace>,
    language: Language,
) -> Sheet {
    let file_name = format!("ledger-{}-{}", range.merchant, &range.from.to_beijing()[..8]);
    let begin = (config, store, range, Some(after));
    let rows = try_unfold(begin, |(config, store, range, rest)| async move {
        let Some(after) = rest else { return Ok(None) };
        let page = ledger_page(&store, &range, after, CHUNK).await?;
        let fees = ledger_fees((&config, &store), &range.merchant, &page.rows()).await?;
        let rows = page.lines.iter().zip(fees);
        let rows = rows.map(|(line, fee)| ledger_cells(range.merchant.as_str(), line, fee)).collect();
        Ok::<_, DbError>(Some((rows, (config, store, range, page.next.map(Some)))))
    });
    let heads = ledger_heads(language).iter().map(|head| (*head).to_owned()).collect();
    Sheet { file_name, tab: language.pick("账簿", "Ledger"), heads, rows: rows.boxed() }
}

/// A row of the ledger as a row of a sheet.
fn ledger_cells(merchant: &str, line: &LedgerLine, fee: Option<i64>) -> Vec<Cell> {
    let row = &line.row;
    let money = |fen| Cell::Money(fen, row.currency.clone());
    let optional = |text: &Option<String>| Cell::optional(text.as_deref());
    vec![
        Cell::Text(row_id(row)),
        Cell::Time(row.key.at),
        Cell::Time(row.occurred_at),
        Cell::text(row_kind(row)),
        Cell::text(&row.entry),
        optional(&row.from_class),
        Cell::text(&row.class),
        optional(&row.reason),
        Cell::text(merchant),
        optional(&row.order_no),
        Cell::text(&row.out_trade_no),
        Cell::text(&row.transaction_id),
        optional(&row.refund_no),
        optional(&row.refund_id),
        money(row.amount_fen),
        money(row.change_fen),
        money(line.balance_fen),
        Cell::text(&row.currency),
        fee.map_or(Cell::Empty, |fee| Cell::Decimal(decimal(fee))),
        optional(&row.evidence),
        optional(&row.done_by),
        Cell::text(&line.period.month),
        line.period.adjusts.clone().map_or(Cell::Empty, Cell::Day),
    ]
}
