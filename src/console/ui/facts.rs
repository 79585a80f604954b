//! What is known of one thing: labels and values.

use askama::Template;
use askama::filters::HtmlSafe;

use super::id::Id;
use super::money::Money;
use super::status::Badge;
use super::time::Time;

/// A value.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"{% match self %}{% when Cell::Text(text) %}{{ text }}{% when Cell::Code(text) %}<code>{{ text }}</code>{% when Cell::Id(id) %}{{ id }}{% when Cell::Money(money) %}{{ money }}{% when Cell::Time(time) %}{{ time }}{% when Cell::Badge(badge) %}{{ badge }}{% when Cell::None %}<span class="none">—</span>{% endmatch %}"#
)]
pub enum Cell {
    Text(String),
    Code(String),
    Id(Id),
    Money(Money),
    Time(Time),
    Badge(Badge),
    None,
}

impl HtmlSafe for Cell {}

impl Cell {
    /// A text, where there is one.
    pub fn text(text: Option<impl Into<String>>) -> Cell {
        text.map_or(Cell::None, |text| Cell::Text(text.into()))
    }
}

/// Labels and values, in their order.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<dl class="facts">{% for row in rows %}<dt>{{ row.0 }}</dt><dd>{{ row.1 }}</dd>{% endfor %}</dl>"#
)]
pub struct Facts {
    pub rows: Vec<(&'static str, Cell)>,
}

impl HtmlSafe for Facts {}
