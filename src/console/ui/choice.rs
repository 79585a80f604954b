//! A filter with a few values, as a field of a form.

use askama::Template;
use askama::filters::HtmlSafe;

/// A list to choose from; the first line is "all".
#[derive(Template)]
#[template(path = "console/ui/choice.html")]
pub struct Choice {
    pub name: &'static str,
    pub label: &'static str,
    pub all: &'static str,
    /// Value and words.
    pub options: Vec<(String, String)>,
    pub chosen: String,
}

impl HtmlSafe for Choice {}
