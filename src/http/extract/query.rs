//! Query strings: known names, each once. A misspelt parameter is refused, not ignored.

use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Query};
use axum::http::Uri;
use axum::http::request::Parts;

use crate::http::problem::{Error, FieldProblem};
use crate::secret::Secret;

/// Extractor: the query string of a request, which holds nothing but parameters of `T`, each once.
pub struct StrictQuery<T>(pub T);

/// The parameters of a path.
pub trait QueryParams: Sized {
    /// Their names.
    const NAMES: &'static [&'static str];

    /// Reads the values; all names are among [`QueryParams::NAMES`].
    fn read(params: &Params) -> Result<Self, Error>;
}

impl<T: QueryParams, S: Sync> FromRequestParts<S> for StrictQuery<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<StrictQuery<T>, Error> {
        Ok(StrictQuery(T::read(&Params::parse(&parts.uri, T::NAMES)?)?))
    }
}

/// A path without parameters.
pub struct NoQuery;

impl QueryParams for NoQuery {
    const NAMES: &'static [&'static str] = &[];

    fn read(_: &Params) -> Result<NoQuery, Error> {
        Ok(NoQuery)
    }
}

/// The merchant, which a caller that sees several must name.
pub struct MerchantQuery {
    pub merchant: Option<String>,
}

impl QueryParams for MerchantQuery {
    const NAMES: &'static [&'static str] = &["merchant"];

    fn read(params: &Params) -> Result<MerchantQuery, Error> {
        Ok(MerchantQuery { merchant: params.owned("merchant") })
    }
}

/// The merchant, and the order's own token, which an `EventSource` cannot send as a header.
pub struct StreamQuery {
    pub merchant: Option<String>,
    pub order_token: Option<Secret>,
}

impl QueryParams for StreamQuery {
    const NAMES: &'static [&'static str] = &["merchant", "order_token"];

    fn read(params: &Params) -> Result<StreamQuery, Error> {
        let order_token = params.owned("order_token").map(Secret::new);
        Ok(StreamQuery { merchant: params.owned("merchant"), order_token })
    }
}

/// The merchant, and whether WeChat is asked first.
pub struct RefreshQuery {
    pub merchant: Option<String>,
    pub refresh: bool,
}

impl QueryParams for RefreshQuery {
    const NAMES: &'static [&'static str] = &["merchant", "refresh"];

    fn read(params: &Params) -> Result<RefreshQuery, Error> {
        let refresh = params.number("refresh", 0..=1)? == Some(1);
        Ok(RefreshQuery { merchant: params.owned("merchant"), refresh })
    }
}

/// The parameters of a request.
#[derive(Debug)]
pub struct Params(HashMap<String, String>);

impl Params {
    /// Parses the query string; names outside `known` and names given twice are problems.
    fn parse(uri: &Uri, known: &[&str]) -> Result<Params, Error> {
        let Query(pairs): Query<Vec<(String, String)>> =
            Query::try_from_uri(uri).map_err(|_| Error::Malformed { detail: "the query string cannot be read" })?;
        let mut found = HashMap::new();
        let mut problems = Vec::new();
        for (name, value) in pairs {
            if !known.contains(&name.as_str()) {
                problems.push(FieldProblem::parameter(&name, "is not a parameter of this path"));
            } else if found.insert(name.clone(), value).is_some() {
                problems.push(FieldProblem::parameter(&name, "is given twice"));
            }
        }
        if problems.is_empty() { Ok(Params(found)) } else { Err(Error::Invalid(problems)) }
    }

    /// The value of `name`; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The same, to keep.
    pub fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// The parsed value of `name`.
    pub fn parsed<T, E: Display>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, Error> {
        let parsed = self.get(name).map(parse).transpose();
        parsed.map_err(|e| Error::Invalid(vec![FieldProblem::parameter(name, e.to_string())]))
    }

    /// A whole number within `range`.
    pub fn number(&self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>().ok().filter(|n| digits && range.contains(n)) {
            Some(n) => Ok(Some(n)),
            None => {
                let rule = format!("must be a whole number from {} to {}", range.start(), range.end());
                Err(Error::Invalid(vec![FieldProblem::parameter(name, rule)]))
            }
        }
    }
}
