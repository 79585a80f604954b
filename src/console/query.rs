//! The filters of a page: they live in the address, so that a pasted link shows the same.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::form_urlencoded;

use crate::clock::Timestamp;

/// Extractor: the parameters of the address. What is unknown is ignored, an empty value counts as absent.
#[derive(Debug, Clone, Default)]
pub struct Filters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Filters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Filters, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
        Ok(Filters(pairs.filter(|(_, value)| !value.trim().is_empty()).collect()))
    }
}

impl Filters {
    /// What a form posted, to show the form again.
    pub fn of_fields(pairs: impl Iterator<Item = (String, String)>) -> Filters {
        Filters(pairs.filter(|(_, value)| !value.trim().is_empty()).collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// The value, or an empty text: for the field of a form.
    pub fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    pub fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    /// Every value of a parameter.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// As [`Filters::with`], on the first page.
    pub fn with_first(&self, path: &str, name: &str, value: &str) -> String {
        let kept = self.0.iter().filter(|(known, _)| known != "after").cloned();
        Filters(kept.collect()).with(path, name, value)
    }

    /// The begin (`end` false) or the end of a day (`2026-01-02`) in Beijing.
    pub fn day(&self, name: &str, end: bool) -> Option<Timestamp> {
        let digits: String = self.get(name)?.chars().filter(|c| *c != '-').collect();
        let midnight = Timestamp::parse_beijing(&format!("{digits}000000")).ok()?;
        Some(if end { midnight.next_beijing_midnight() } else { midnight })
    }

    /// The address of `path` with these parameters, one of them set to another value (or left out, if empty). Another
    /// filter begins at the first page.
    pub fn with(&self, path: &str, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (known, kept) in self.0.iter().filter(|(known, _)| known != name && known != "before") {
            query.append_pair(known, kept);
        }
        if !value.is_empty() {
            query.append_pair(name, value);
        }
        let query = query.finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}
