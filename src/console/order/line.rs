//! A line of the timeline, and the parts that lines are made of.

use crate::clock::Timestamp;
use crate::console::frame::Frame;
use crate::console::links;
use crate::console::ui::facts::{Cell, Facts};
use crate::console::ui::money::Money;
use crate::console::ui::status::Badge;
use crate::ops::history::{Evidence, Words};
use crate::order::CNY;

use super::words::{Texts, fact, source};

/// What happened, and on what it rests.
pub struct Line {
    pub at: Timestamp,
    /// Its kind, for the style.
    pub kind: &'static str,
    pub title: &'static str,
    /// In one line.
    pub says: String,
    pub badge: Option<Badge>,
    pub money: Option<Money>,
    pub took: Option<String>,
    pub facts: Facts,
    /// The message's elements, masked.
    pub raw: Vec<(String, String)>,
    pub curl: Option<String>,
}

impl Line {
    pub fn new(at: Timestamp, kind: &'static str, title: &'static str, says: impl Into<String>) -> Line {
        Line {
            at,
            kind,
            title,
            says: says.into(),
            badge: None,
            money: None,
            took: None,
            facts: Facts { rows: Vec::new() },
            raw: Vec::new(),
            curl: None,
        }
    }

    pub fn with(mut self, label: &'static str, cell: Cell) -> Line {
        self.facts.rows.push((label, cell));
        self
    }

    /// With a text, where there is one.
    pub fn text(self, label: &'static str, text: Option<&String>) -> Line {
        match text.filter(|text| !text.is_empty()) {
            Some(text) => self.with(label, Cell::Text(text.clone())),
            None => self,
        }
    }

    /// With a number that is found by searching for it.
    pub fn number(self, frame: &Frame, label: &'static str, number: Option<&String>) -> Line {
        match number.filter(|number| !number.is_empty()) {
            Some(number) => self.with(label, Cell::Id(frame.id(links::orders_with(number), number))),
            None => self,
        }
    }

    pub fn time(self, frame: &Frame, label: &'static str, at: Option<Timestamp>) -> Line {
        match at {
            Some(at) => self.with(label, Cell::Time(frame.moment(&at))),
            None => self,
        }
    }

    pub fn words(self, t: &'static Texts, words: &Words) -> Line {
        self.text(t.code, words.code.as_ref()).text(t.message, words.message.as_ref())
    }

    /// With the evidence of a decision.
    pub fn evidence(self, frame: &Frame, t: &'static Texts, evidence: &Evidence) -> Line {
        let (fact, from) = (fact(&evidence.fact, frame.lang), source(&evidence.source, frame.lang));
        let source_id = match evidence.source.as_str() {
            "notification" => frame.id(links::notification(&evidence.source_id), &evidence.source_id),
            _ => frame.plain_id(&evidence.source_id),
        };
        let line = self
            .with(t.fact, Cell::Text(fact.to_owned()))
            .with(t.source, Cell::Text(from.to_owned()))
            .with(t.source_id, Cell::Id(source_id))
            .with(t.received, Cell::Time(frame.moment(&evidence.received_at)));
        let line = match &evidence.verified_by {
            Some(key) => line.with(t.verified_by, Cell::Code(key.clone())),
            None => line,
        };
        let line = line.words(t, &evidence.words).number(frame, t.transaction, evidence.transaction_id.as_ref());
        let line = match evidence.amount_fen {
            Some(fen) => {
                let currency = evidence.currency.as_deref().unwrap_or(CNY);
                line.with(frame.w.amount, Cell::Money(frame.sum(fen, currency)))
            }
            None => line,
        };
        line.time(frame, t.paid_at, evidence.paid_at)
    }
}
