//! `GET /v1/ledger`: the rows of a day, as pages of JSON or as one file.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::file::answer;
use super::query::{Format, LedgerQuery};
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::query::StrictQuery;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ops::reports::{
    FileKind, LedgerLine, LedgerPlace, fee_text, ledger_fees, ledger_page, ledger_sheet, row_id, row_kind,
};
use crate::store::BookRange;

/// The JSON of a row.
#[derive(Serialize)]
struct RowJson<'a> {
    id: String,
    recorded_at: Timestamp,
    occurred_at: Timestamp,
    kind: &'static str,
    entry: &'a str,
    from_class: Option<&'a str>,
    class: &'a str,
    reason: Option<&'a str>,
    merchant: &'a str,
    order_no: Option<&'a str>,
    out_trade_no: &'a str,
    transaction_id: &'a str,
    refund_no: Option<&'a str>,
    refund_id: Option<&'a str>,
    amount_fen: i64,
    change_fen: i64,
    balance_fen: i64,
    currency: &'a str,
    /// In yuan, once the bill is there, and where it is kept.
    fee: Option<String>,
    evidence: Option<&'a str>,
    by: Option<&'a str>,
    /// The month that it counts in, and the day of a closed month that it adjusts.
    period: &'a str,
    adjusts: Option<&'a str>,
}

pub async fn list(
    app: HttpState,
    caller: Authorized<Finance>,
    headers: HeaderMap,
    StrictQuery(query): StrictQuery<LedgerQuery>,
) -> Result<Response, Error> {
    let named = query.merchant.as_deref();
    let merchant = caller.merchant(&app.config, named, |rule| FieldProblem::parameter("merchant", rule))?;
    let range = BookRange { merchant: merchant.key.clone(), from: query.between.from, to: query.between.to };
    let format = query.format.unwrap_or_else(|| if wants_csv(&headers) { Format::Csv } else { Format::Json });
    let kind = match format {
        Format::Json => None,
        Format::Csv => Some(FileKind::Csv),
        Format::Xlsx => Some(FileKind::Xlsx),
    };
    if let Some(kind) = kind {
        return answer(ledger_sheet((app.config.clone(), app.store.clone()), range, query.after, query.language), kind)
            .await;
    }
    // The time is taken first: what is complete then is in the page.
    let is_complete = query.between.is_complete(app.clock.now());
    let page = ledger_page(&app.store, &range, query.after, query.limit).await?;
    let fees = ledger_fees((&app.config, &app.store), &range.merchant, &page.rows()).await?;
    let rows = page.lines.iter().zip(fees);
    let rows: Vec<RowJson<'_>> = rows.map(|(line, fee)| row_json(range.merchant.as_str(), line, fee)).collect();
    let next = page.next.as_ref().map(LedgerPlace::to_text);
    Ok(axum::Json(json!({"rows": rows, "next": next, "complete": is_complete})).into_response())
}

/// Whether a table is asked for by its media type.
fn wants_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    types.any(|name| name.trim().eq_ignore_ascii_case("text/csv"))
}

fn row_json<'a>(merchant: &'a str, line: &'a LedgerLine, fee: Option<i64>) -> RowJson<'a> {
    let row = &line.row;
    RowJson {
        id: row_id(row),
        recorded_at: row.key.at,
        occurred_at: row.occurred_at,
        kind: row_kind(row),
        entry: &row.entry,
        from_class: row.from_class.as_deref(),
        class: &row.class,
        reason: row.reason.as_deref(),
        merchant,
        order_no: row.order_no.as_deref(),
        out_trade_no: &row.out_trade_no,
        transaction_id: &row.transaction_id,
        refund_no: row.refund_no.as_deref(),
        refund_id: row.refund_id.as_deref(),
        amount_fen: row.amount_fen,
        change_fen: row.change_fen,
        balance_fen: line.balance_fen,
        currency: &row.currency,
        fee: fee.map(fee_text),
        evidence: row.evidence.as_deref(),
        by: row.done_by.as_deref(),
        period: &line.period.month,
        adjusts: line.period.adjusts.as_deref(),
    }
}
