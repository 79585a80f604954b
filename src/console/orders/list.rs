//! `GET /console/orders`: newest first, by filters and by any number or text.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};

use super::query::{is_text_alone, read};
use super::words::{Texts, flag, trade_type};
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::query::Filters;
use crate::console::state::Console;
use crate::console::ui::choice::Choice;
use crate::console::ui::status::{Badge, Status};
use crate::console::viewer::Viewer;
use crate::money::Fen;
use crate::ops::orders;
use crate::order::OrderState;
use crate::store::{OrderFlag, StoredOrder};
use crate::trade::TradeType;

const PATH: &str = "/console/orders";

#[derive(Template)]
#[template(path = "console/orders.html")]
struct OrdersPage {
    frame: Frame,
    t: &'static Texts,
    filters: Filters,
    list: orders::OrderList,
    merchants: Vec<String>,
    /// Whether rows name their merchant.
    has_merchants: bool,
    sum: Fen,
    older: Option<String>,
    newest: Option<String>,
}

pub async fn list(app: Console, viewer: Viewer, filters: Filters) -> Result<Response, Fault> {
    let query = read(&filters, &viewer)?;
    let list = orders::list(&app.store, query, app.clock.now()).await?;
    if let [only] = list.orders.as_slice()
        && list.matched == Some(orders::Matched::Number)
        && is_text_alone(&filters)
    {
        let order = &only.order;
        return Ok(Redirect::to(&links::order(&order.merchant, &order.order_no)).into_response());
    }
    let merchants = seen(&app, &viewer);
    let t = Texts::of(app.lang);
    let mut frame = Frame::new(&app, &viewer, Place::Orders, t.title);
    frame.searched = filters.text("q").to_owned();
    let sum = list.orders.iter().map(|order| order.order.amount.as_i64()).sum();
    page(&OrdersPage {
        frame,
        t,
        older: list.next.map(|next| filters.with(PATH, "after", &orders::cursor(next))),
        newest: filters.get("after").map(|_| filters.with(PATH, "after", "")),
        has_merchants: merchants.len() > 1,
        merchants,
        sum: Fen::from_i64(sum),
        filters,
        list,
    })
}

/// The configured merchants that the viewer may see.
pub fn seen(app: &Console, viewer: &Viewer) -> Vec<String> {
    let keys = app.config.merchants.iter().map(|merchant| &merchant.key);
    keys.filter(|key| viewer.sees(key)).map(ToString::to_string).collect()
}

/// What an order is, in one word: held money comes before the state, and so does an outcome that is not known.
pub fn status(stored: &StoredOrder) -> Status {
    let order = &stored.order;
    let has_held = order.payments.iter().any(|payment| payment.class == crate::order::PaymentClass::Held);
    if has_held {
        return Status::Held;
    }
    match order.state {
        OrderState::Requested | OrderState::Payable if order.flags.outcome_unknown => Status::Unknown,
        OrderState::Paid if stored.refunded == order.amount => Status::Refunded,
        state => state.into(),
    }
}

/// The flags of an order in words.
pub fn flags(stored: &StoredOrder, lang: crate::console::words::Lang) -> Vec<&'static str> {
    let names = stored.order.flags.names();
    names.into_iter().filter_map(OrderFlag::parse).map(|name| flag(name, lang)).collect()
}

impl OrdersPage {
    fn choice(&self, name: &'static str, label: &'static str, options: Vec<(String, String)>) -> Choice {
        Choice { name, label, all: self.frame.w.all, options, chosen: self.filters.text(name).to_owned() }
    }

    fn states(&self) -> Choice {
        let options = OrderState::ALL
            .iter()
            .map(|state| (state.as_str().to_owned(), Status::from(*state).word(self.frame.lang).to_owned()));
        self.choice("state", self.frame.w.state, options.collect())
    }

    fn flag_choice(&self) -> Choice {
        let options =
            OrderFlag::ALL.iter().map(|name| (name.as_str().to_owned(), flag(*name, self.frame.lang).to_owned()));
        self.choice("flag", self.t.flag, options.collect())
    }

    fn trade_types(&self) -> Choice {
        let options =
            TradeType::ALL.iter().map(|name| (name.as_str().to_owned(), trade_type(*name, self.frame.lang).to_owned()));
        self.choice("trade_type", self.t.trade_type, options.collect())
    }

    fn merchant_choice(&self) -> Choice {
        let options = self.merchants.iter().map(|key| (key.clone(), key.clone()));
        self.choice("merchant", self.frame.w.merchant, options.collect())
    }

    /// Whether one of the less used filters is set.
    fn has_more(&self) -> bool {
        ["app", "trade_type", "min", "max", "flag"].iter().any(|name| self.filters.get(name).is_some())
    }

    fn is_filtered(&self) -> bool {
        self.filters.get("after").is_some() || self.has_more() || {
            ["q", "state", "merchant", "from", "to"].iter().any(|name| self.filters.get(name).is_some())
        }
    }

    fn link(&self, stored: &StoredOrder) -> String {
        links::order(&stored.order.merchant, &stored.order.order_no)
    }

    fn state_of(&self, stored: &StoredOrder) -> Badge {
        self.frame.badge(status(stored))
    }

    fn flags_of(&self, stored: &StoredOrder) -> Vec<&'static str> {
        flags(stored, self.frame.lang)
    }
}
