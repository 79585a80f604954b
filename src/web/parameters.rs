//! Query strings of the browser side.
//!
//! Unknown names are ignored here, unlike in `/v1`: front-end libraries add cache busters, and WeChat adds
//! what it likes when it sends a browser back. A name that counts must not come twice: readers disagree about which one
//! counts.

use axum::http::Uri;
use url::form_urlencoded;

use super::envelope::Failure;

/// The decoded pairs of a query string.
#[derive(Debug)]
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Of a request's target.
    pub fn of(uri: &Uri) -> Parameters {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Parameters(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// These pairs.
    pub fn from_pairs(pairs: Vec<(String, String)>) -> Parameters {
        Parameters(pairs)
    }

    /// With other values.
    pub fn map(self, mut value_of: impl FnMut(&str, String) -> String) -> Parameters {
        let pairs = self.0.into_iter().map(|(name, value)| {
            let value = value_of(&name, value);
            (name, value)
        });
        Parameters(pairs.collect())
    }

    /// The value of `name`; an empty one counts as absent.
    pub fn get(&self, name: &'static str) -> Result<Option<&str>, Failure> {
        let mut values = self.0.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(Failure::bad_parameter(name, "is given twice")),
            (value, None) => Ok(value.filter(|text| !text.is_empty())),
        }
    }

    /// The value of `name`, which must be there.
    pub fn required(&self, name: &'static str) -> Result<&str, Failure> {
        self.get(name)?.ok_or_else(|| Failure::bad_parameter(name, "is required"))
    }

    /// Whether the switch `name` is on: `1`; off: absent or `0`.
    pub fn switch(&self, name: &'static str) -> Result<bool, Failure> {
        match self.get(name)? {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(Failure::bad_parameter(name, "must be 0 or 1")),
        }
    }
}
