//! `GET /console`: the day of each merchant, what needs a person, and what works behind the payments.

use askama::Template;
use axum::response::Response;

use super::words::OverviewWords;
use crate::clock::Timestamp;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::nav::Place;
use crate::console::state::Console;
use crate::console::ui::money::grouped;
use crate::console::ui::time::{millis, span};
use crate::console::viewer::Viewer;
use crate::console::words::Lang;
use crate::ops;
use crate::ops::overview::{Machinery, MerchantDay, Waiting};
use crate::order::PaymentClass;
use crate::store::{DeadLetterGroup, JobOutcome};

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    frame: Frame,
    t: &'static OverviewWords,
    days: Vec<Day>,
    waiting: Waiting,
    ending: Vec<(String, Timestamp)>,
    machinery: Machinery,
}

/// The day of a merchant, with its figures as texts.
struct Day {
    merchant: String,
    paid: String,
    amount: i64,
    at_least: bool,
    refunds: i64,
    refunded: i64,
    last_payment: Option<Timestamp>,
    lag: String,
    by_query: String,
}

pub async fn get(app: Console, viewer: Viewer) -> Result<Response, Fault> {
    let (t, now, operator) = (OverviewWords::of(app.lang), app.clock.now(), viewer.operator());
    let days = ops::overview::merchants(&app.store, &app.config, &operator, now).await?;
    let waiting = ops::overview::waiting(&app.store, &operator).await?;
    let machinery = ops::overview::machinery(&app.store, &app.bus).await?;
    let ending = ops::overview::ending_certificates(&app.config, &operator, now).await;
    let frame = Frame::new(&app, &viewer, Place::Overview, t.title);
    let days = days.into_iter().map(|day| Day::new(day, app.lang)).collect();
    page(&OverviewPage { frame, t, days, waiting, ending, machinery })
}

impl Day {
    fn new(day: MerchantDay, lang: Lang) -> Day {
        let percent = |(part, all): (usize, usize)| {
            let per_mille = part * 1000 / all.max(1);
            format!("{}.{} %", per_mille / 10, per_mille % 10)
        };
        Day {
            merchant: day.merchant.to_string(),
            paid: grouped(day.paid.count.unsigned_abs()),
            amount: day.paid.amount.as_i64(),
            at_least: day.is_at_least,
            refunds: day.refunded.count,
            refunded: -day.refunded.amount.as_i64(),
            last_payment: day.last_payment,
            lag: day
                .lag
                .map_or("–".to_owned(), |lag| format!("{} / {}", millis(lag.p50, lang), millis(lag.p99, lang))),
            by_query: day.by_query.map_or("–".to_owned(), percent),
        }
    }
}

impl OverviewPage {
    fn lang(&self) -> Lang {
        self.frame.lang
    }

    fn is_quiet(&self) -> bool {
        self.waiting.is_nothing() && self.ending.is_empty()
    }

    fn waits(&self, class: &PaymentClass) -> &'static str {
        if *class == PaymentClass::Held { self.t.held } else { self.t.unmatched }
    }

    fn group_link(&self, group: &DeadLetterGroup) -> String {
        format!("/console/dead-letters?reason={}", group.reason)
    }

    fn oldest(&self, lag: &crate::bus::Lag) -> String {
        lag.oldest_age.map_or("–".to_owned(), |age| span(age, self.lang()))
    }

    fn leases(&self) -> usize {
        self.machinery.jobs.iter().filter(|job| job.lease.is_some()).count()
    }

    fn failing(&self) -> Vec<&str> {
        let failed = |outcome: JobOutcome| outcome.is_failure();
        let jobs = self.machinery.jobs.iter();
        let failing = jobs.filter(|job| job.last.as_ref().is_some_and(|last| failed(last.outcome)));
        failing.map(|job| job.name.as_str()).collect()
    }
}
