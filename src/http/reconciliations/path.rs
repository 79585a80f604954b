//! The merchant and the day of a path, and the line.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::config::Merchant;
use crate::http::extract::auth::Caller;
use crate::http::problem::{Error, FieldProblem};
use crate::http::state::HttpState;
use crate::ops;
use crate::store::{Line, Reconciliation};
use crate::wechat::v2::bill::BillDay;

/// Extractor: `{merchant}/{date}` of a path, and `{id}` behind where there is one.
pub struct DayPath {
    pub merchant: String,
    pub day: BillDay,
    pub line: Option<i64>,
}

impl<S: Send + Sync> FromRequestParts<S> for DayPath {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<DayPath, Error> {
        let problem = |name: &str, rule: &str| Error::Invalid(vec![FieldProblem::parameter(name, rule)]);
        let texts = Path::<Vec<String>>::from_request_parts(parts, state).await;
        let Path(texts) = texts.map_err(|_| problem("date", "must be UTF-8 text"))?;
        let mut texts = texts.into_iter();
        let (merchant, date) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        let day = self::day(&date).map_err(|rule| problem("date", rule))?;
        let line = texts.next().map(|text| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or_else(|| problem("id", "must be a whole number"))
        });
        Ok(DayPath { merchant, day, line: line.transpose()? })
    }
}

/// Extractor: `{merchant}/{date}` of a path, where the date may have the ending of a file.
pub struct DayOrFile {
    pub merchant: String,
    pub text: String,
}

impl<S: Send + Sync> FromRequestParts<S> for DayOrFile {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<DayOrFile, Error> {
        let path = Path::<(String, String)>::from_request_parts(parts, state).await;
        let invalid = |_| Error::Invalid(vec![FieldProblem::parameter("date", "must be UTF-8 text")]);
        let Path((merchant, text)) = path.map_err(invalid)?;
        Ok(DayOrFile { merchant, text })
    }
}

/// A day of the form that all answers have.
pub fn day(text: &str) -> Result<BillDay, &'static str> {
    let day = BillDay::parse(text).map_err(|_| "must be a day like 2026-11-27")?;
    if text.contains('-') { Ok(day) } else { Err("must be a day like 2026-11-27") }
}

impl DayPath {
    /// The merchant, if the caller may see it.
    pub fn merchant<'c>(&self, app: &'c HttpState, caller: &Caller) -> Result<&'c Merchant, Error> {
        let merchant = app.config.merchant(&self.merchant).filter(|merchant| caller.sees(&merchant.key));
        merchant.ok_or(Error::NotFound("merchant"))
    }

    /// The day, if the caller may see it and it was ever asked for.
    pub async fn found(&self, app: &HttpState, caller: &Caller) -> Result<Reconciliation, Error> {
        let merchant = self.merchant(app, caller)?;
        let found = ops::reconciliation::day(&app.store, &merchant.key, &self.day.to_string()).await?;
        found.ok_or(Error::NotFound("reconciliation"))
    }

    /// The line of the day's result.
    pub async fn line(&self, app: &HttpState, of: &Reconciliation) -> Result<Line, Error> {
        let line = ops::reconciliation::line(&app.store, of, self.line.unwrap_or_default()).await?;
        line.ok_or(Error::NotFound("line"))
    }
}
