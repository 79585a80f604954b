//! `GET /console`: the day of each merchant, what needs a person, and what works behind the payments.

use std::sync::Arc;

use askama::Template;
use axum::response::Response;

use super::chart::Chart;
use super::words::OverviewWords;
use crate::clock::Timestamp;
use crate::console::fault::Fault;
use crate::console::frame::{Frame, page};
use crate::console::links;
use crate::console::nav::Place;
use crate::console::state::Console;
use crate::console::ui::money::grouped;
use crate::console::ui::status::Status;
use crate::console::ui::time::{beijing, millis, relative, span};
use crate::console::viewer::Viewer;
use crate::console::words::Lang;
use crate::ids::MerchantKey;
use crate::ops;
use crate::ops::overview::{Figures, MAX_LISTED, MerchantDay, Reading};
use crate::ops::reports::Month;
use crate::order::PaymentClass;
use crate::store::{
    DbKind, DeadLetterGroup, DisabledReason, EndpointState, JobOutcome, JobView, MissingBills, Reconciliation,
    WebhookEndpoint,
};

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    frame: Frame,
    t: &'static OverviewWords,
    days: Vec<Day>,
    chart: Option<Chart>,
    figures: Arc<Figures>,
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
    let (t, operator) = (OverviewWords::of(app.lang), viewer.operator());
    let (state, now) = (app.clone(), app.clock.now());
    let compute = |before: Option<Arc<Figures>>| async move {
        let tools = (&state.store, &state.bus, state.config.as_ref());
        Ok(ops::overview::figures(tools, &operator, before.as_deref(), now).await)
    };
    let seen = viewer.merchants().map(<[_]>::to_vec);
    let figures = app.shared.figures.get(&seen, now, compute).await?;
    let frame = Frame::new(&app, &viewer, Place::Overview, t.title);
    let days = figures.days.iter().flat_map(|known| &known.value).map(|day| Day::new(day, app.lang)).collect();
    let chart = figures.minutes.as_ref().map(|known| Chart::new(&known.value, app.lang));
    page(&OverviewPage { frame, t, days, chart, figures })
}

impl Day {
    fn new(day: &MerchantDay, lang: Lang) -> Day {
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
        let Figures { waiting, ending, tokens, bills, months, endpoints, .. } = &*self.figures;
        waiting.as_ref().is_some_and(|known| known.value.is_nothing())
            && bills.as_ref().is_some_and(|known| known.value.is_nothing())
            && months.as_ref().is_some_and(|known| known.value.is_empty())
            && endpoints.as_ref().is_some_and(|known| known.value.is_empty())
            && ending.as_ref().is_some_and(|known| known.value.is_empty())
            && tokens.as_ref().is_some_and(|known| known.value.is_empty())
    }

    /// What is said of parts that were not read now.
    fn note(&self, read_at: &[Option<Timestamp>]) -> Option<String> {
        let oldest = read_at.iter().min().copied().flatten();
        match oldest {
            Some(at) if at == self.figures.at => None,
            Some(at) => {
                let ago = relative(at, self.frame.now, self.lang());
                Some(format!("{} {} ({ago})", self.t.as_of, beijing(at)))
            }
            None => Some(self.t.not_known.to_owned()),
        }
    }

    fn note_of_days(&self) -> Option<String> {
        self.note(&[read_at(&self.figures.days)])
    }

    fn note_of_minutes(&self) -> Option<String> {
        self.note(&[read_at(&self.figures.minutes)])
    }

    fn note_of_person(&self) -> Option<String> {
        let Figures { waiting, ending, tokens, bills, months, endpoints, .. } = &*self.figures;
        let machines = [read_at(waiting), read_at(ending), read_at(tokens)];
        let finance = [read_at(bills), read_at(months), read_at(endpoints)];
        self.note(&[machines, finance].concat())
    }

    fn note_of_machinery(&self) -> Option<String> {
        let machinery = &self.figures.machinery;
        self.note(&[read_at(&machinery.outbox_pending), read_at(&machinery.jobs)])
    }

    fn waits(&self, class: &PaymentClass) -> &'static str {
        if *class == PaymentClass::Held { self.t.held } else { self.t.unmatched }
    }

    /// The same of a single payment.
    fn waits_one(&self, class: &PaymentClass) -> &'static str {
        if *class == PaymentClass::Held { self.t.held_one } else { self.t.unmatched_one }
    }

    fn group_link(&self, group: &DeadLetterGroup) -> String {
        format!("/console/dead-letters?reason={}", group.reason)
    }

    /// Those that are listed, and whether there are more.
    fn red(&self) -> (&[Reconciliation], bool) {
        listed(self.figures.bills.as_ref().map_or(&[][..], |known| known.value.red.as_slice()))
    }

    fn missing(&self) -> &[MissingBills] {
        self.figures.bills.as_ref().map_or(&[][..], |known| known.value.missing.as_slice())
    }

    fn months(&self) -> &[(MerchantKey, Month)] {
        self.figures.months.as_ref().map_or(&[][..], |known| known.value.as_slice())
    }

    fn endpoints(&self) -> (&[WebhookEndpoint], bool) {
        listed(self.figures.endpoints.as_ref().map_or(&[][..], |known| known.value.as_slice()))
    }

    fn day_link(&self, day: &Reconciliation) -> String {
        links::reconciliation(&day.merchant, &day.day)
    }

    fn missing_link(&self, bills: &MissingBills) -> String {
        links::reconciliation(&bills.merchant, &bills.newest)
    }

    fn month_link(&self, (merchant, month): &(MerchantKey, Month)) -> String {
        links::close_month(merchant, &month.text)
    }

    fn endpoint_link(&self, endpoint: &WebhookEndpoint) -> String {
        links::webhook(&endpoint.id)
    }

    fn endpoint_status(&self, endpoint: &WebhookEndpoint) -> Status {
        if endpoint.state == EndpointState::Disabled { Status::Disabled } else { Status::Broken }
    }

    /// Why, and since when.
    fn endpoint_says(&self, endpoint: &WebhookEndpoint) -> (&'static str, Option<Timestamp>) {
        match (endpoint.state, endpoint.disabled_reason) {
            (EndpointState::Disabled, Some(DisabledReason::Gone)) => (self.t.hook_gone, endpoint.disabled_at),
            (EndpointState::Disabled, Some(DisabledReason::Failing)) => (self.t.hook_given_up, endpoint.disabled_at),
            (EndpointState::Disabled, _) => (self.t.hook_by_person, endpoint.disabled_at),
            _ => (self.t.hook_fails, endpoint.failing_since),
        }
    }

    fn oldest(&self, lag: &crate::bus::Lag) -> String {
        lag.oldest_age.map_or("–".to_owned(), |age| span(age, self.lang()))
    }

    /// The name of the database, and whether it works.
    fn database(&self) -> (&'static str, Status, &'static str) {
        let machinery = &self.figures.machinery;
        let name = match machinery.database {
            DbKind::Postgres => "PostgreSQL",
            DbKind::Sqlite => "SQLite",
        };
        let (status, says) = match machinery.takes_writes {
            Some(true) => (Status::Healthy, self.t.writes),
            Some(false) => (Status::Degraded, self.t.read_only),
            None => (Status::Degraded, self.t.database_silent),
        };
        (name, status, says)
    }

    /// The same of the queue.
    fn queue(&self) -> (&'static str, Status, &'static str) {
        let machinery = &self.figures.machinery;
        let name = if machinery.is_nats { "NATS" } else { self.t.embedded };
        let (status, says) = match machinery.lags {
            Some(_) => (Status::Healthy, self.t.answers),
            None => (Status::Degraded, self.t.silent),
        };
        (name, status, says)
    }

    fn jobs(&self) -> impl Iterator<Item = &JobView> {
        self.figures.machinery.jobs.iter().flat_map(|known| &known.value)
    }

    fn job_count(&self) -> usize {
        self.jobs().count()
    }

    fn leases(&self) -> usize {
        self.jobs().filter(|job| job.lease.is_some()).count()
    }

    fn failing(&self) -> Vec<&str> {
        let failed = |outcome: JobOutcome| outcome.is_failure();
        let failing = self.jobs().filter(|job| job.last.as_ref().is_some_and(|last| failed(last.outcome)));
        failing.map(|job| job.name.as_str()).collect()
    }
}

fn listed<T>(found: &[T]) -> (&[T], bool) {
    (found.get(..MAX_LISTED).unwrap_or(found), found.len() > MAX_LISTED)
}

fn read_at<T>(part: &Reading<T>) -> Option<Timestamp> {
    part.as_ref().map(|known| known.at)
}
