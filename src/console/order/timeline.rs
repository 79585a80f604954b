//! The history of an order as lines.

use super::line::Line;
use super::words::{Texts, fact, source, state};
use crate::clock::Timestamp;
use crate::console::dead_letters::reasons;
use crate::console::frame::Frame;
use crate::console::links;
use crate::console::notifications::{elements, kind, verdict};
use crate::console::ui::curl;
use crate::console::ui::facts::Cell;
use crate::ops::history::{Entry, Evidence, TimedEntry};
use crate::ops::mask;
use crate::ops::reason::ReasonClass;
use crate::store::{Archived, StoredOrder, StoredRefund, TrailBooking, TrailNotification};

/// What lines are written with.
pub struct Writer<'a> {
    pub frame: &'a Frame,
    pub t: &'static Texts,
    pub stored: &'a StoredOrder,
    pub refunds: &'a [StoredRefund],
    /// The notifications whose messages are shown in their lines.
    pub messages: &'a [Archived],
}

impl Writer<'_> {
    pub fn line(&self, entry: TimedEntry) -> Line {
        let (t, frame, at) = (self.t, self.frame, entry.at);
        match entry.entry {
            Entry::Requested { event_id, app, amount_fen, description, trade_type } => {
                let mut line = Line::new(at, "requested", t.requested, description)
                    .text(t.app, Some(&app))
                    .text(t.trade_type, Some(&trade_type.to_owned()))
                    .with(t.event, Cell::Id(frame.plain_id(event_id)));
                line.money = Some(frame.money(amount_fen));
                line.curl = Some(curl::order(self.stored));
                line
            }
            Entry::Attempt { out_trade_no, n, trade_type } => {
                Line::new(at, "attempt", t.attempt, format!("#{n} {trade_type}"))
                    .with(t.out_trade_no, Cell::Id(frame.plain_id(out_trade_no)))
            }
            Entry::Call { api, number, outcome, took_ms, words } => {
                let says = match (&words.code, &words.message) {
                    (Some(code), Some(message)) => format!("{api} · {code}: {message}"),
                    (Some(words), None) | (None, Some(words)) => format!("{api} · {words}"),
                    (None, None) => format!("{api} · {outcome}"),
                };
                let mut line = Line::new(at, "call", t.call, says)
                    .with(t.api, Cell::Code(api))
                    .with(t.out_trade_no, Cell::Id(frame.plain_id(number)))
                    .text(t.result, Some(&outcome))
                    .words(t, &words);
                line.took = Some(format!("{took_ms} ms"));
                line
            }
            Entry::Notification(notification) => self.notification(at, notification),
            Entry::Ledger(booked) => self.booked(at, booked),
            Entry::Decision { version, before, after, out_trade_no, evidence } => {
                let says = self.change(before.as_deref(), after.as_deref(), &evidence);
                Line::new(at, "decision", t.decision, says)
                    .evidence(frame, t, &evidence)
                    .with(t.out_trade_no, Cell::Id(frame.plain_id(out_trade_no)))
                    .with(t.version, Cell::Text(version.to_string()))
            }
            Entry::RefundDecision { refund_no, version, before, after, mut evidence } => {
                let known = self.refunds.iter().find(|stored| stored.refund.refund_no.as_str() == refund_no);
                evidence.currency = known.map(|stored| stored.refund.currency.clone());
                let says = self.change(before.as_deref(), after.as_deref(), &evidence);
                Line::new(at, "decision", t.refund_decision, says)
                    .evidence(frame, t, &evidence)
                    .number(frame, t.refund_no, Some(&refund_no))
                    .with(t.version, Cell::Text(version.to_string()))
            }
            Entry::Event { id, event_type, published_at } => self.event(at, id, &event_type, published_at),
            Entry::Delivery { event_id, event_type, endpoint, outcome, status, took_ms } => {
                Line::new(at, "event", t.delivery, delivered(&event_type, &outcome, status))
                    .with(t.event, Cell::Id(frame.plain_id(event_id)))
                    .with(t.endpoint, Cell::Id(frame.id(links::webhook(&endpoint), endpoint)))
                    .with(t.took, Cell::Text(format!("{took_ms} ms")))
            }
            Entry::Action { actor, action, result, reason, transaction_id, remote_addr } => {
                Line::new(at, "action", t.action, format!("{actor}: {action} · {result}"))
                    .text(t.reason, reason.as_ref())
                    .number(frame, t.transaction, transaction_id.as_ref())
                    .with(t.from_addr, Cell::Code(remote_addr))
            }
            money => self.money(at, money),
        }
    }

    fn event(&self, at: Timestamp, id: String, event_type: &str, published_at: Option<Timestamp>) -> Line {
        let (t, frame) = (self.t, self.frame);
        let name = event_type.trim_start_matches("wxpay.").trim_end_matches(".v1").to_owned();
        let line = Line::new(at, "event", t.event, name).with(t.event, Cell::Id(frame.plain_id(id)));
        match published_at {
            Some(_) => line.time(frame, t.published, published_at),
            None => line.with(t.published, Cell::Text(t.not_published.to_owned())),
        }
    }

    /// Before, after and why.
    fn change(&self, before: Option<&str>, after: Option<&str>, evidence: &Evidence) -> String {
        let lang = self.frame.lang;
        let name = |text: Option<&str>| text.map_or("?", |text| state(text, lang)).to_owned();
        let why = format!("{} ({})", fact(&evidence.fact, lang), source(&evidence.source, lang));
        match (before, after) {
            (Some(before), Some(after)) if before == after => format!("{} · {why}", name(Some(after))),
            (None, None) => why,
            _ => format!("{} → {} · {why}", name(before), name(after)),
        }
    }

    fn notification(&self, at: Timestamp, notification: TrailNotification) -> Line {
        let (t, frame) = (self.t, self.frame);
        let TrailNotification { id, about, reason, .. } = notification;
        let class = reason.as_deref().and_then(ReasonClass::parse);
        let means = class.map(|class| reasons::sentence(class, frame.lang).to_owned());
        let says = means.clone().or_else(|| reason.clone());
        let says = says
            .map_or_else(|| kind(&about, frame.lang).to_owned(), |why| format!("{} · {why}", kind(&about, frame.lang)));
        let mut line = Line::new(at, "notification", t.notification, says)
            .with("id", Cell::Id(frame.id(links::notification(&id), &id)))
            .text(t.reason, reason.as_ref())
            .text(t.means, means.as_ref())
            .number(frame, t.transaction, notification.transaction_id.as_ref())
            .with(t.from_addr, Cell::Code(notification.remote_addr))
            .with(t.verified_by, notification.verified_by.map_or(Cell::None, Cell::Code))
            .text(t.bytes, notification.bytes.map(|bytes| bytes.to_string()).as_ref())
            .time(frame, t.received, Some(at))
            .time(frame, t.processed, notification.processed_at);
        line.badge = verdict(&notification.verdict).map(|status| frame.badge(status));
        if let Some(found) = self.messages.iter().find(|found| found.row.id == id)
            && let Some(shown) = mask::notification(&found.body)
        {
            line.raw = elements(&shown);
            line.curl = Some(curl::notification(&found.row, &shown));
        }
        line
    }

    fn booked(&self, at: Timestamp, booked: TrailBooking) -> Line {
        let (t, frame) = (self.t, self.frame);
        let class = |text: &Option<String>| text.as_ref().map(|text| state(text, frame.lang).to_owned());
        let says = match (class(&booked.from), class(&booked.to)) {
            (Some(from), Some(to)) => format!("{from} → {to}"),
            (None, Some(to)) | (Some(to), None) => to,
            (None, None) => booked.entry.clone(),
        };
        let mut line = Line::new(at, "ledger", t.ledger, says)
            .text(t.entry, Some(&booked.entry))
            .number(frame, t.transaction, Some(&booked.transaction_id))
            .text(t.reason, booked.reason.as_ref())
            .text(t.actor, booked.by.as_ref())
            .text(t.evidence, booked.evidence.as_ref())
            .time(frame, t.occurred, Some(booked.occurred_at));
        line.money = Some(frame.sum(booked.amount_fen, &booked.currency));
        line
    }

    fn money(&self, at: Timestamp, entry: Entry) -> Line {
        let (t, frame) = (self.t, self.frame);
        match entry {
            Entry::Refund { refund_no, transaction_id, amount_fen, currency, origin, reason, by, .. } => {
                let mut line = Line::new(at, "refund", t.refund_recorded, format!("{refund_no} · {by}"))
                    .number(frame, t.refund_no, Some(&refund_no))
                    .number(frame, t.transaction, Some(&transaction_id))
                    .text(t.origin, Some(&origin))
                    .text(t.reason, reason.as_ref())
                    .text(t.actor, Some(&by));
                line.money = Some(frame.sum(-amount_fen, &currency));
                line
            }
            Entry::RefundLedger { refund_no, transaction_id, amount_fen, currency, evidence, occurred_at, .. } => {
                let mut line = Line::new(at, "ledger", t.refund_ledger, refund_no.clone())
                    .number(frame, t.refund_no, Some(&refund_no))
                    .number(frame, t.transaction, Some(&transaction_id))
                    .text(t.evidence, evidence.as_ref())
                    .time(frame, t.occurred, Some(occurred_at));
                line.money = Some(frame.sum(-amount_fen, &currency));
                line
            }
            Entry::Requested { .. }
            | Entry::Attempt { .. }
            | Entry::Call { .. }
            | Entry::Notification(_)
            | Entry::Ledger(_)
            | Entry::Decision { .. }
            | Entry::RefundDecision { .. }
            | Entry::Event { .. }
            | Entry::Delivery { .. }
            | Entry::Action { .. } => Line::new(at, "other", t.event, ""),
        }
    }
}

/// `order.paid · http_status 502`
fn delivered(event_type: &str, outcome: &str, status: Option<i64>) -> String {
    let name = event_type.trim_start_matches("wxpay.").trim_end_matches(".v1");
    let status = status.map(|status| status.to_string()).unwrap_or_default();
    format!("{name} · {outcome} {status}")
}
