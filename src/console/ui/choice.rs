//! A filter with a few values, as a field of a form.

use askama::Template;
use askama::filters::HtmlSafe;

/// A list to choose from; the first line is "all".
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<label class="field"><span>{{ label }}</span><select name="{{ name }}"><option value="">{{ all }}</option>{% for option in options %}<option value="{{ option.0 }}"{% if option.0 == *chosen %} selected{% endif %}>{{ option.1 }}</option>{% endfor %}</select></label>"#
)]
pub struct Choice {
    pub name: &'static str,
    pub label: &'static str,
    pub all: &'static str,
    /// Value and words.
    pub options: Vec<(String, String)>,
    pub chosen: String,
}

impl HtmlSafe for Choice {}
