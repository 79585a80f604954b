//! Query strings: known names, each once. A misspelt parameter is refused, not ignored.

use std::collections::HashMap;

use axum::extract::Query;
use axum::http::Uri;

use crate::http::problem::{Error, FieldProblem};

/// The parameters of a request.
#[derive(Debug)]
pub struct Params(HashMap<String, String>);

impl Params {
    /// Parses the query string; names outside `known` and names given twice are problems.
    pub fn parse(uri: &Uri, known: &[&str]) -> Result<Params, Error> {
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

    /// A whole number within `range`.
    pub fn number(&self, name: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Error> {
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
