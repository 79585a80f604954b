//! What the address asks of the list. What cannot be read restricts nothing.

use crate::console::fault::Fault;
use crate::console::query::Filters;
use crate::console::viewer::Viewer;
use crate::ids::AppKey;
use crate::money::Fen;
use crate::ops::orders::{OrderQuery, TEXT_MAX, parse_cursor};
use crate::order::OrderState;
use crate::store::{OrderFilter, OrderFlag};
use crate::trade::TradeType;

/// Orders of one page.
const LIMIT: u64 = 50;

pub fn read(filters: &Filters, viewer: &Viewer) -> Result<OrderQuery, Fault> {
    let amount = |name: &str| filters.get(name).and_then(|yuan| Fen::from_yuan(yuan).ok());
    let filter = OrderFilter {
        merchants: viewer.among(filters.get("merchant"))?,
        state: filters.get("state").and_then(OrderState::parse),
        flag: filters.get("flag").and_then(OrderFlag::parse),
        app: filters.get("app").and_then(|text| AppKey::parse(text).ok()),
        trade_type: filters.get("trade_type").and_then(TradeType::parse),
        from: filters.day("from", false),
        to: filters.day("to", true),
        min: amount("min"),
        max: amount("max"),
    };
    Ok(OrderQuery {
        filter,
        text: filters.get("q").map(searched),
        after: filters.get("after").and_then(|text| parse_cursor(text).ok()),
        limit: LIMIT,
    })
}

/// The text that is searched for, without what no text has.
fn searched(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_MAX).collect()
}

/// Whether anything but the text restricts the list.
pub fn is_text_alone(filters: &Filters) -> bool {
    let others = ["merchant", "state", "flag", "app", "trade_type", "from", "to", "min", "max", "after"];
    filters.get("q").is_some() && others.iter().all(|name| filters.get(name).is_none())
}
