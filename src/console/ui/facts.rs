//! What is known of one thing: labels and values.

use askama::Template;
use askama::filters::HtmlSafe;

use super::id::Id;
use super::money::Money;
use super::status::Badge;
use super::time::Time;

/// A value.
#[derive(Template)]
#[template(path = "console/ui/cell.html")]
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
#[template(path = "console/ui/facts.html")]
pub struct Facts {
    pub rows: Vec<(&'static str, Cell)>,
}

impl HtmlSafe for Facts {}
