//! `GET /console/orders/{merchant}/{order_no}`

use std::sync::Arc;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;

use super::find::find;
use super::line::Line;
use super::timeline::Writer;
use super::words::Texts;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::orders::{flags, status};
use crate::console::state::Console;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::status::{Badge, Status};
use crate::console::viewer::Viewer;
use crate::ops::history::{self, Entry, Timeline};
use crate::ops::{Operator, notifications};
use crate::order::{AttemptState, Intent, PaymentClass};
use crate::store::{Archived, DbError, OrderMoney, StoredOrder, StoredPayment, StoredRefund};

/// Notifications whose messages are shown in the page; the others have pages of their own.
const MESSAGES: usize = 5;
/// Lines of the timeline on one page, the newest first of all: the page stays small.
const LINES: usize = 40;

#[derive(Template)]
#[template(path = "console/order.html")]
struct OrderPage {
    frame: Frame,
    t: &'static Texts,
    stored: Arc<StoredOrder>,
    badge: Badge,
    flags: Vec<&'static str>,
    facts: Facts,
    payments: Vec<StoredPayment>,
    refunds: Vec<StoredRefund>,
    lines: Vec<Line>,
    truncated: Vec<&'static str>,
    /// Lines that are left out.
    hidden: usize,
    earlier: String,
    newest: Option<String>,
    path: String,
    replay: String,
    replay_refused: Option<String>,
    audit: String,
}

pub async fn get(
    app: Console,
    viewer: Viewer,
    Path(named): Path<(String, String)>,
    filters: crate::console::query::Filters,
) -> Result<Response, Fault> {
    let stored = find(&app, &viewer, named).await?;
    let OrderMoney { order: stored, payments, refunds } = app.store.with_money(stored).await?;
    let order = &stored.order;
    let Timeline { entries, truncated, .. } = history::of_order(&app.store, &stored).await?;
    let passed = filters.get("passed").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0).min(entries.len());
    let end = entries.len() - passed;
    let hidden = end.saturating_sub(LINES);
    let operator = viewer.operator();
    let messages = messages(&app, &operator, &entries[hidden..end]).await?;
    let is_refused = |entry: &Entry| matches!(entry, Entry::Notification(of) if of.verdict == "refused");
    let is_open = !order.paid_reported;
    let has_refused = is_open && entries.iter().any(|entry| is_refused(&entry.entry));
    let t = Texts::of(app.lang);
    let frame = Frame::new(&app, &viewer, Place::Orders, order.order_no.to_string());
    let writer = Writer { frame: &frame, t, stored: &stored, refunds: &refunds, messages: &messages };
    let lines = entries.into_iter().take(end).skip(hidden).map(|entry| writer.line(entry)).collect();
    let selected =
        [("kind", "notification"), ("merchant", order.merchant.as_str()), ("order_no", order.order_no.as_str())];
    let path = links::order(&order.merchant, &order.order_no);
    page(&OrderPage {
        badge: frame.badge(status(&stored)),
        flags: flags(&stored, app.lang),
        facts: facts(&frame, t, &stored),
        payments,
        refunds,
        lines,
        truncated,
        hidden,
        earlier: format!("{path}?passed={}", passed + LINES),
        newest: (passed > 0).then(|| path.clone()),
        replay: links::plan(selected),
        replay_refused: has_refused.then(|| links::plan(selected.into_iter().chain([("refused", "1")]))),
        audit: links::audit_of_order(&order.order_no),
        path,
        frame,
        t,
        stored: Arc::clone(&stored),
    })
}

/// The newest notifications with their messages, each of which is seen here as on its own page.
async fn messages(
    app: &Console,
    operator: &Operator,
    entries: &[history::TimedEntry],
) -> Result<Vec<Archived>, DbError> {
    let ids = entries.iter().rev().filter_map(|entry| match &entry.entry {
        Entry::Notification(of) => Some(&of.id),
        _ => None,
    });
    let mut found = Vec::new();
    for id in ids.take(MESSAGES) {
        found.extend(notifications::view(&app.store, operator, id, app.clock.now()).await?);
    }
    Ok(found)
}

fn facts(frame: &Frame, t: &'static Texts, stored: &StoredOrder) -> Facts {
    let (order, content) = (&stored.order, &stored.content);
    let said = order.said().map(|words| Cell::Text(format!("{}: {}", words.code, words.message)));
    let pending = order.intent.filter(|_| order.state.is_open()).map(|intent| match intent {
        Intent::Close => Cell::Text(t.pending_close.to_owned()),
        Intent::NewAttempt { .. } => Cell::Text(t.pending_attempt.to_owned()),
    });
    let paid = order.paid_by.as_ref();
    let yes_no = if order.paid_reported { t.yes } else { t.no };
    let rows = [
        (t.description, Some(Cell::Text(content.description.clone()))),
        (t.attach, content.attach.clone().map(Cell::Text)),
        (frame.w.merchant, Some(Cell::Text(order.merchant.to_string()))),
        (t.app, Some(Cell::Text(order.app.to_string()))),
        (t.created, Some(Cell::Time(frame.time(&order.created_at)))),
        (t.expires, Some(Cell::Time(frame.moment(&order.expires_at)))),
        (t.paid_at, paid.map(|paid| Cell::Time(frame.time(&paid.paid_at)))),
        (t.transaction, paid.map(|paid| Cell::Id(frame.plain_id(&paid.transaction_id)))),
        (t.credited, Some(Cell::Text(yes_no.to_owned()))),
        (t.failure, said),
        (frame.w.state, pending),
    ];
    Facts { rows: rows.into_iter().filter_map(|(label, cell)| Some((label, cell?))).collect() }
}

impl OrderPage {
    fn attempt_badge(&self, state: &AttemptState) -> Badge {
        self.frame.badge(match state {
            AttemptState::Created => Status::Requested,
            AttemptState::Unknown => Status::Unknown,
            AttemptState::Payable => Status::Payable,
            AttemptState::Paid => Status::Paid,
            AttemptState::Closed => Status::Closed,
            AttemptState::Failed => Status::Failed,
        })
    }

    fn class_badge(&self, payment: &StoredPayment) -> Badge {
        self.frame.badge(payment.class)
    }

    fn refund_badge(&self, stored: &StoredRefund) -> Badge {
        self.frame.badge(stored.refund.state)
    }

    fn is_held(&self, payment: &StoredPayment) -> bool {
        payment.class == PaymentClass::Held
    }

    /// Whether anything of it is left to go back.
    fn is_refundable(&self, payment: &StoredPayment) -> bool {
        payment.reserved < payment.amount && payment.class != PaymentClass::Returned
    }

    fn accept_link(&self, payment: &StoredPayment) -> String {
        format!("{}/accept?transaction_id={}", self.path, payment.transaction_id)
    }

    fn refund_link(&self, payment: &StoredPayment) -> String {
        format!("{}/refund?transaction_id={}", self.path, payment.transaction_id)
    }
}
