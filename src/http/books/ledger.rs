//! `GET /v1/ledger`: the rows of a day, as pages of JSON or as one CSV file.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use serde::Serialize;
use serde_json::json;

use super::csv;
use super::page::{Place, kind, page, row_id};
use super::query::{Format, Language, LedgerQuery};
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Finance};
use crate::http::extract::query::StrictQuery;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::store::{BookRange, BookRow, DbError, Store};

/// Rows of a file that are in memory at once.
const CHUNK: u64 = 1000;

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
    /// Not known before the bill.
    fee: Option<&'a str>,
    evidence: Option<&'a str>,
    by: Option<&'a str>,
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
    if format == Format::Csv {
        return Ok(file(app.store.clone(), range, query.after, query.language));
    }
    // The time is taken first: what is complete then is in the page.
    let is_complete = query.between.is_complete(app.clock.now());
    let page = page(&app.store, &range, query.after, query.limit).await?;
    let rows: Vec<RowJson<'_>> =
        page.rows.iter().map(|(row, balance)| row_json(range.merchant.as_str(), row, *balance)).collect();
    let next = page.next.as_ref().map(Place::to_text);
    Ok(axum::Json(json!({"rows": rows, "next": next, "complete": is_complete})).into_response())
}

/// Whether a table is asked for by its media type.
fn wants_csv(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = accepted.flat_map(|value| value.split(',')).filter_map(|range| range.split(';').next());
    types.any(|name| name.trim().eq_ignore_ascii_case("text/csv"))
}

fn row_json<'a>(merchant: &'a str, row: &'a BookRow, balance_fen: i64) -> RowJson<'a> {
    RowJson {
        id: row_id(row),
        recorded_at: row.key.at,
        occurred_at: row.occurred_at,
        kind: kind(row),
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
        balance_fen,
        currency: &row.currency,
        fee: None,
        evidence: row.evidence.as_deref(),
        by: row.done_by.as_deref(),
    }
}

/// What of a file is still to be sent.
enum Rest {
    Head,
    Rows(Option<Place>),
    Nothing,
}

/// All rows behind `after`, read while they are sent. A database that fails ends the connection before the end of the
/// file.
fn file(store: Store, range: BookRange, after: Option<Place>, language: Language) -> Response {
    let name = format!("attachment; filename=\"ledger-{}-{}.csv\"", range.merchant, &range.from.to_beijing()[..8]);
    let begin = (Rest::Head, after);
    let chunks = try_unfold((store, range, begin), move |(store, range, (rest, after))| async move {
        let (after, mut text) = match rest {
            Rest::Nothing => return Ok::<_, DbError>(None),
            Rest::Head => (after, csv::head(language)),
            Rest::Rows(after) => (after, String::new()),
        };
        let found = page(&store, &range, after, CHUNK).await?;
        for (row, balance) in &found.rows {
            csv::write(&mut text, range.merchant.as_str(), row, *balance);
        }
        let rest = found.next.map_or(Rest::Nothing, |next| Rest::Rows(Some(next)));
        Ok(Some((text, (store, range, (rest, None)))))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A merchant's key is ASCII.
    if let Ok(name) = HeaderValue::from_str(&name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}
