//! The month of a path, and its JSON.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde_json::{Value, json};

use crate::http::problem::{Error, FieldProblem};
use crate::ops::reports::{Month, PeriodView};
use crate::store::PeriodClosing;

/// Extractor: a merchant's key, as it is, and a month.
pub struct MonthPath {
    pub merchant: String,
    pub month: Month,
}

impl<S: Send + Sync> FromRequestParts<S> for MonthPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<MonthPath, Error> {
        let invalid = |rule: &str| Error::Invalid(vec![FieldProblem::parameter("month", rule)]);
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((merchant, text)) = path.map_err(|_| invalid("must be UTF-8 text"))?;
        let month = Month::parse(&text).ok_or_else(|| invalid("must be a month like 2026-11"))?;
        Ok(MonthPath { merchant, month })
    }
}

/// A closing without its figures.
pub fn closing_json(closing: &PeriodClosing) -> Value {
    let reopened = closing.reopened.as_ref();
    json!({
        "merchant": closing.merchant,
        "month": closing.month,
        "state": if reopened.is_some() { "reopened" } else { "closed" },
        "closed_at": closing.closed_at,
        "closed_by": closing.closed_by,
        "reason": closing.reason,
        "recorded_before": closing.cut_at,
        "hash": closing.hash,
        "reopened_at": reopened.map(|(at, _, _)| at),
        "reopened_by": reopened.map(|(_, by, _)| by),
        "reopen_reason": reopened.map(|(_, _, reason)| reason),
    })
}

/// A month with its figures, which are the bytes that the hash is of.
pub fn period_json(view: &PeriodView) -> Result<String, Error> {
    let mut value = match &view.closing {
        Some(closing) => closing_json(closing),
        None => json!({"merchant": view.merchant, "month": view.month.text, "state": "open"}),
    };
    value["reopened"] = view.reopened.iter().map(closing_json).collect();
    value["adjustments"] = json!(view.adjustments);
    value["adjustments_by_currency"] = json!(view.adjusted);
    let Some(rest) = value.to_string().strip_prefix('{').map(str::to_owned) else {
        return Err(Error::Internal { internal: "a month without JSON".to_owned() });
    };
    // Parsed once more they would be sorted, and have another hash.
    Ok(format!("{{\"figures\":{},{rest}", view.figures.get()))
}
