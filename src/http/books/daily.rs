//! `GET /v1/reports/daily`: a row for a merchant and a day, as JSON or as a file; `GET /v1/reports/{merchant}/{file}`:
//! the lines of a day as a file.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use super::file::answer;
use super::query::day;
use crate::clock::Timestamp;
use crate::http::extract::auth::{Authorized, Caller, Finance};
use crate::http::extract::query::{Params, QueryParams, StrictQuery};
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ids::MerchantKey;
use crate::ops::reports::{
    AdjustedDay, CurrencySums, DetailSource, FileKind, Further, Language, MAX_COLUMNS, MAX_DAYS, adjustments,
    daily_sheet, detail_sheet, frozen_or_now,
};

pub struct DailyQuery {
    merchant: Option<String>,
    from: Timestamp,
    /// The end of the last day.
    to: Timestamp,
    kind: Option<FileKind>,
    language: Language,
}

fn language(params: &Params) -> Result<Option<Language>, Error> {
    params.parsed("lang", |text| Language::parse(text).ok_or("must be en or zh"))
}

impl QueryParams for DailyQuery {
    const NAMES: &'static [&'static str] = &["merchant", "from", "to", "format", "lang"];

    fn read(params: &Params) -> Result<DailyQuery, Error> {
        let invalid = |name, rule: &str| Error::Invalid(vec![FieldProblem::parameter(name, rule)]);
        let from = params.parsed("from", day)?.ok_or_else(|| invalid("from", "is required: a day like 2026-11-27"))?;
        let to = params.parsed("to", day)?.unwrap_or(from).next_beijing_midnight();
        let days = to.as_ms().saturating_sub(from.as_ms()) / (24 * 3600 * 1000);
        if days < 1 || u64::try_from(days).is_ok_and(|days| days > MAX_DAYS) {
            return Err(invalid("to", "must be a day that is not before from, and not more than three years later"));
        }
        let kind = params.parsed("format", |text| match text {
            "json" => Ok(None),
            _ => FileKind::parse(text).map(Some).ok_or("must be json, csv or xlsx"),
        })?;
        Ok(DailyQuery {
            merchant: params.owned("merchant"),
            from,
            to,
            kind: kind.flatten(),
            language: language(params)?.unwrap_or(Language::English),
        })
    }
}

/// What was recorded on a day about a day of a month that was closed before.
#[derive(Serialize)]
struct AdjustmentJson<'a> {
    merchant: &'a MerchantKey,
    #[serde(flatten)]
    of: AdjustedDay,
    #[serde(flatten)]
    sums: CurrencySums,
}

/// The days of a range, those of closed months as they were then.
pub async fn get(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<DailyQuery>,
) -> Result<Response, Error> {
    let merchants: Vec<MerchantKey> = match caller.among(&app.config, query.merchant.as_deref())? {
        Some(merchants) => merchants,
        None => app.config.merchants.iter().map(|merchant| merchant.key.clone()).collect(),
    };
    let (range, now) = ((query.from, query.to), app.clock.now());
    if let Some(kind) = query.kind {
        return answer(daily_sheet(&app.store, &merchants, range, (query.language, now)).await?, kind).await;
    }
    let (mut rows, mut adjusted) = (Vec::new(), Vec::new());
    for merchant in &merchants {
        let adjustments = adjustments(&app.store, merchant, range).await?.sums;
        adjusted.extend(adjustments.into_iter().map(|(of, sums)| AdjustmentJson { merchant, of, sums }));
        for row in frozen_or_now(&app.store, merchant, range, now).await? {
            let mut row = json!(row);
            row["merchant"] = json!(merchant);
            rows.push(row);
        }
    }
    Ok(axum::Json(json!({"days": rows, "adjustments": adjusted})).into_response())
}

pub struct DetailQuery {
    language: Option<Language>,
    further: Vec<Further>,
}

impl DetailQuery {
    /// Whether anything is asked for.
    pub fn is_asked(&self) -> bool {
        self.language.is_some() || !self.further.is_empty()
    }
}

impl QueryParams for DetailQuery {
    const NAMES: &'static [&'static str] = &["lang", "columns"];

    fn read(params: &Params) -> Result<DetailQuery, Error> {
        const RULE: &str = "must be attach or metadata.NAME, between commas, twenty at most";
        let further = params.parsed("columns", |text| {
            let columns: Option<Vec<Further>> = text.split(',').map(Further::parse).collect();
            columns.filter(|columns| columns.len() <= MAX_COLUMNS).ok_or(RULE)
        })?;
        Ok(DetailQuery { language: language(params)?, further: further.unwrap_or_default() })
    }
}

/// `2026-11-27.csv` or `2026-11-27.xlsx`.
pub fn file_of(text: &str) -> Option<(Timestamp, FileKind)> {
    let (text, kind) = text.rsplit_once('.')?;
    Some((day(text).ok()?, FileKind::parse(kind)?))
}

/// The lines of a day.
pub async fn detail(
    app: HttpState,
    caller: Authorized<Finance>,
    StrictQuery(query): StrictQuery<DetailQuery>,
    Path((merchant, file)): Path<(String, String)>,
) -> Result<Response, Error> {
    let (begin, kind) = file_of(&file).ok_or(Error::NotFound("report"))?;
    detail_file(&app, &caller, query, (&merchant, begin, kind)).await
}

/// The same under the reconciliation of the day.
pub async fn detail_file(
    app: &HttpState,
    caller: &Caller,
    query: DetailQuery,
    (merchant, begin, kind): (&str, Timestamp, FileKind),
) -> Result<Response, Error> {
    let named = |rule| FieldProblem::parameter("merchant", rule);
    let merchant = caller.merchant(&app.config, Some(merchant), named)?;
    let language = query.language.unwrap_or(Language::English);
    let on = DetailSource { config: &app.config, store: &app.store, wechat: &app.wechat };
    answer(detail_sheet(on, &merchant.key, begin, (language, query.further)).await?, kind).await
}
