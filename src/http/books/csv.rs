//! The ledger as a table for spreadsheets.
//!
//! What must stay true: no text is taken for a formula, and no identifier for a number or a date.

use super::page::{kind, row_id};
use super::query::Language;
use crate::clock::Timestamp;
use crate::store::BookRow;

/// A spreadsheet takes a file without it for one in the system's old coding.
const BOM: char = '\u{feff}';

const ENGLISH: &str = "id,recorded_at,occurred_at,kind,entry,from_class,class,reason,merchant,order_no,out_trade_no,\
                       transaction_id,refund_no,refund_id,amount,change,balance,currency,fee,evidence,by";
const CHINESE: &str = "编号,记账时间,交易时间,类型,分录,原类别,类别,原因,商户,业务订单号,商户订单号,微信订单号,\
                       商户退款单号,微信退款单号,金额,变动,余额,货币,手续费,凭证,操作人";

/// The head of the table.
pub fn head(language: Language) -> String {
    let names = match language {
        Language::English => ENGLISH,
        Language::Chinese => CHINESE,
    };
    format!("{BOM}{names}\r\n")
}

/// Appends a row. Times are Beijing's, amounts in the currency's main unit.
pub fn write(text: &mut String, merchant: &str, row: &BookRow, balance_fen: i64) {
    let money = |fen| amount(fen, &row.currency);
    let optional = |cell: &Option<String>| cell.as_deref().map(safe).unwrap_or_default();
    let cells = [
        row_id(row),
        time(row.key.at),
        time(row.occurred_at),
        kind(row).to_owned(),
        row.entry.clone(),
        optional(&row.from_class),
        row.class.clone(),
        optional(&row.reason),
        safe(merchant),
        optional(&row.order_no),
        safe(&row.out_trade_no),
        safe(&row.transaction_id),
        optional(&row.refund_no),
        optional(&row.refund_id),
        money(row.amount_fen),
        money(row.change_fen),
        money(balance_fen),
        safe(&row.currency),
        String::new(),
        optional(&row.evidence),
        optional(&row.done_by),
    ];
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

/// A text cell. One that begins like a formula, a number or a date is marked as text by an apostrophe before it.
fn safe(cell: &str) -> String {
    let marked = cell.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '=' | '+' | '-' | '@' | '\t' | '\r'));
    let cell = if marked { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// `2026-11-27 10:00:00`, as in WeChat's bills.
fn time(at: Timestamp) -> String {
    let t = at.to_beijing();
    format!("{}-{}-{} {}:{}:{}", &t[..4], &t[4..6], &t[6..8], &t[8..10], &t[10..12], &t[12..14])
}

/// Two decimals, except for currencies that have no smaller unit.
fn amount(fen: i64, currency: &str) -> String {
    if matches!(currency, "JPY" | "KRW") {
        return fen.to_string();
    }
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", (fen / 100).unsigned_abs(), (fen % 100).unsigned_abs())
}
