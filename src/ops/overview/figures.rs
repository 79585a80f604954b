//! All that the first page shows, each part read by itself.

use std::path::PathBuf;
use std::time::Duration;

use super::finance::{self, Bills};
use crate::bus::{Bus, Lag};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::{AppKey, MchId, MerchantKey};
use crate::money::Fen;
use crate::ops::reports::Month;
use crate::ops::{Operator, dead_letters};
use crate::order::PaymentClass;
use crate::store::{
    Arrival, COUNTED_MAX, DbError, DbKind, DeadLetterGroup, Degraded, JobView, Store, StoredFault, Sum, WebhookEndpoint,
};
use crate::wechat::certificate::MerchantCertificate;

/// How long the queue may take to say how far behind it is.
const LAG_TIMEOUT: Duration = Duration::from_secs(1);
/// How long each part may take.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Lags of payments that are older say nothing of today.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// Minutes that are shown one by one.
const MINUTES: i64 = 60;
const MINUTE_MS: i64 = 60_000;

/// A certificate that ends within this has to be replaced.
const ENDING: Duration = Duration::from_secs(30 * 24 * 3600);

/// A part as it was read last.
#[derive(Debug, Clone)]
pub struct Known<T> {
    pub at: Timestamp,
    pub value: T,
}

/// None where it was never read.
pub type Reading<T> = Option<Known<T>>;

/// What was paid in each of the last minutes, the oldest first.
#[derive(Debug, Clone)]
pub struct Minutes {
    /// The begin of the first one.
    pub from: Timestamp,
    pub sums: Vec<Sum>,
    /// A merchant had more payments than are added up: the first minutes lack some.
    pub is_cut: bool,
}

/// The day of one merchant.
#[derive(Debug, Clone)]
pub struct MerchantDay {
    pub merchant: MerchantKey,
    pub paid: Sum,
    /// There may be more than what was counted.
    pub is_at_least: bool,
    pub refunded: Sum,
    pub last_payment: Option<Timestamp>,
    /// From the payment at WeChat to its row here, over the last payments of a day.
    pub lag: Option<Percentiles>,
    /// How many of those a query found first, of how many: notifications that were late or lost.
    pub by_query: Option<(usize, usize)>,
}

/// The middle, and what one of a hundred exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    pub p50: Duration,
    pub p99: Duration,
}

/// What has to be decided by a person.
#[derive(Debug, Clone, Default)]
pub struct Waiting {
    /// Held payments, and those of no order.
    pub money: Vec<(MerchantKey, PaymentClass, String, Sum)>,
    pub dead_letters: Vec<DeadLetterGroup>,
    /// What WeChat refuses of a merchant's own setup.
    pub faults: Vec<StoredFault>,
    /// Requests for a second person, by merchant.
    pub approvals: Vec<(MerchantKey, i64)>,
}

impl Waiting {
    pub fn is_nothing(&self) -> bool {
        self.money.is_empty() && self.dead_letters.is_empty() && self.faults.is_empty() && self.approvals.is_empty()
    }
}

/// What works behind the payments.
#[derive(Debug, Clone)]
pub struct Machinery {
    /// By consumer; none where the queue does not answer.
    pub lags: Option<Vec<Lag>>,
    /// Whether the queue is a NATS server, and not the database.
    pub is_nats: bool,
    pub database: DbKind,
    /// Whether the database takes writes; none where it does not say.
    pub takes_writes: Option<bool>,
    /// Events that are not published yet.
    pub outbox_pending: Reading<i64>,
    pub jobs: Reading<Vec<JobView>>,
}

/// All that the first page shows.
#[derive(Debug)]
pub struct Figures {
    pub at: Timestamp,
    pub days: Reading<Vec<MerchantDay>>,
    pub minutes: Reading<Minutes>,
    pub waiting: Reading<Waiting>,
    pub ending: Reading<Vec<(String, Timestamp)>>,
    /// Tokens that cannot be kept fresh.
    pub tokens: Reading<Vec<Degraded>>,
    /// Red days, and bills that are missing.
    pub bills: Reading<Bills>,
    /// Months that can be closed.
    pub months: Reading<Vec<(MerchantKey, Month)>>,
    /// Endpoints of webhooks that fail or are disabled.
    pub endpoints: Reading<Vec<WebhookEndpoint>>,
    pub machinery: Machinery,
}

/// The figures of the merchants that the operator sees; what cannot be read now is as it was `before`.
pub async fn figures(
    (store, bus, config): (&Store, &Bus, &Config),
    operator: &Operator,
    before: Option<&Figures>,
    now: Timestamp,
) -> Figures {
    let from = Timestamp::from_ms((now.as_ms().div_euclid(MINUTE_MS) - MINUTES + 1) * MINUTE_MS);
    let certificates = async { Ok(ending_certificates(config, operator, now).await) };
    // At once: what waits for one of them must not use up the time of the others.
    let (days, minutes, waiting, ending, tokens, bills, months, endpoints, machinery) = tokio::join!(
        read("days", merchants(store, config, operator, now)),
        read("minutes", minutes(store, config, operator, from)),
        read("waiting", waiting(store, operator, now)),
        read("certificates", certificates),
        read("tokens", degraded_tokens(store, config, operator)),
        read("bills", finance::bills(store, operator, now)),
        read("months", finance::months(store, config, operator, now)),
        read("webhooks", finance::endpoints(store, operator, now)),
        machinery(store, bus, before.map(|before| &before.machinery), now),
    );
    Figures {
        at: now,
        days: known(days, now, before.map(|before| &before.days)),
        minutes: known(minutes, now, before.map(|before| &before.minutes)),
        waiting: known(waiting, now, before.map(|before| &before.waiting)),
        ending: known(ending, now, before.map(|before| &before.ending)),
        tokens: known(tokens, now, before.map(|before| &before.tokens)),
        bills: known(bills, now, before.map(|before| &before.bills)),
        months: known(months, now, before.map(|before| &before.months)),
        endpoints: known(endpoints, now, before.map(|before| &before.endpoints)),
        machinery,
    }
}

/// What is read in time.
async fn read<T>(what: &'static str, reading: impl Future<Output = Result<T, DbError>>) -> Option<T> {
    let why = match tokio::time::timeout(READ_TIMEOUT, reading).await {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(e)) => e.to_string(),
        Err(_) => format!("not within {READ_TIMEOUT:?}"),
    };
    tracing::warn!(what, why, "A part of the overview cannot be read");
    None
}

fn known<T: Clone>(read: Option<T>, now: Timestamp, before: Option<&Reading<T>>) -> Reading<T> {
    match read {
        Some(value) => Some(Known { at: now, value }),
        None => before.cloned().flatten(),
    }
}

async fn minutes(store: &Store, config: &Config, operator: &Operator, from: Timestamp) -> Result<Minutes, DbError> {
    let sums = vec![Sum::default(); usize::try_from(MINUTES).unwrap_or_default()];
    let mut minutes = Minutes { from, sums, is_cut: false };
    for merchant in config.merchants.iter().map(|merchant| &merchant.key).filter(|merchant| operator.sees(merchant)) {
        let found = store.paid_by_minute(merchant, from).await?;
        minutes.is_cut |= found.iter().map(|(_, sum)| sum.count).sum::<i64>() >= COUNTED_MAX;
        for (minute, sum) in found {
            // WeChat's clock may be ahead of ours.
            if let Some(all) = usize::try_from(minute).ok().and_then(|minute| minutes.sums.get_mut(minute)) {
                all.count += sum.count;
                all.amount = Fen::from_i64(all.amount.as_i64().saturating_add(sum.amount.as_i64()));
            }
        }
    }
    Ok(minutes)
}

/// The tokens that cannot be kept fresh, of the apps that belong to a merchant which the operator sees.
async fn degraded_tokens(store: &Store, config: &Config, operator: &Operator) -> Result<Vec<Degraded>, DbError> {
    let mut found = store.degraded_tokens().await?;
    let seen = |app: &AppKey| {
        let mut merchants = config.merchants.iter().filter(|merchant| operator.sees(&merchant.key));
        config.app(app.as_str()).is_some() && merchants.any(|merchant| merchant.apps.contains(app))
    };
    found.retain(|degraded| seen(&degraded.app));
    Ok(found)
}

/// The day of each merchant that the operator sees, in the order of the configuration.
async fn merchants(
    store: &Store,
    config: &Config,
    operator: &Operator,
    now: Timestamp,
) -> Result<Vec<MerchantDay>, DbError> {
    let midnight = Timestamp::from_ms(now.next_beijing_midnight().as_ms() - 24 * 3600 * 1000);
    let refunded = store.refunded_since(midnight).await?;
    let mut days = Vec::new();
    for merchant in config.merchants.iter().map(|merchant| &merchant.key).filter(|merchant| operator.sees(merchant)) {
        let paid = store.paid_since(merchant, midnight).await?;
        let arrivals = store.last_arrivals(merchant).await?;
        let recent: Vec<&Arrival> = arrivals.iter().filter(|arrival| now.since(arrival.paid_at) < RECENT).collect();
        days.push(MerchantDay {
            merchant: merchant.clone(),
            paid,
            is_at_least: paid.count >= COUNTED_MAX,
            refunded: refunded.iter().find(|(of, _)| of == merchant).map(|(_, sum)| *sum).unwrap_or_default(),
            last_payment: arrivals.first().map(|arrival| arrival.paid_at),
            lag: percentiles(recent.iter().map(|arrival| arrival.recorded_at.since(arrival.paid_at)).collect()),
            by_query: by_query(&recent),
        });
    }
    Ok(days)
}

/// What waits for a person, of the merchants that the operator sees.
async fn waiting(store: &Store, operator: &Operator, now: Timestamp) -> Result<Waiting, DbError> {
    let mut money = store.waiting_money().await?;
    money.retain(|(merchant, ..)| operator.sees(merchant));
    let mut faults = store.setup_faults().await?;
    faults.retain(|fault| operator.sees(&fault.merchant));
    let mut approvals = store.waiting_approvals(now).await?;
    approvals.retain(|(merchant, _)| operator.sees(merchant));
    Ok(Waiting { money, dead_letters: dead_letters::groups(store, operator).await?, faults, approvals })
}

/// Queue, database, events and jobs.
async fn machinery(store: &Store, bus: &Bus, before: Option<&Machinery>, now: Timestamp) -> Machinery {
    let database = store.db();
    let (lags, health, outbox_pending, jobs) = tokio::join!(
        tokio::time::timeout(LAG_TIMEOUT, bus.lag()),
        read("database", database.health()),
        read("outbox", store.outbox_pending()),
        read("jobs", store.jobs()),
    );
    Machinery {
        lags: lags.ok().and_then(Result::ok),
        is_nats: bus.is_nats(),
        database: database.kind(),
        takes_writes: health.map(|health| health.takes_writes),
        outbox_pending: known(outbox_pending, now, before.map(|before| &before.outbox_pending)),
        jobs: known(jobs, now, before.map(|before| &before.jobs)),
    }
}

fn percentiles(mut lags: Vec<Duration>) -> Option<Percentiles> {
    lags.sort_unstable();
    let at = |percent: usize| lags.get((lags.len() * percent / 100).min(lags.len().checked_sub(1)?)).copied();
    Some(Percentiles { p50: at(50)?, p99: at(99)? })
}

fn by_query(arrivals: &[&Arrival]) -> Option<(usize, usize)> {
    let sources: Vec<&str> = arrivals.iter().filter_map(|arrival| arrival.source.as_deref()).collect();
    let queried = sources.iter().filter(|source| **source == "query").count();
    (!sources.is_empty()).then_some((queried, sources.len()))
}

/// Certificates of merchants that have expired or soon do, with the time.
async fn ending_certificates(config: &Config, operator: &Operator, now: Timestamp) -> Vec<(String, Timestamp)> {
    let mut found = certificates(config, operator).await;
    found.retain(|(_, ends)| ends.since(now) < ENDING);
    found
}

/// When the certificates of merchants end, as far as they can be read.
pub async fn certificates(config: &Config, operator: &Operator) -> Vec<(String, Timestamp)> {
    let merchants = config.merchants.iter().filter(|merchant| operator.sees(&merchant.key));
    let files: Vec<_> = merchants
        .filter_map(|merchant| {
            let certificate = merchant.client_cert_file.clone()?;
            Some((merchant.key.to_string(), merchant.mch_id.clone(), certificate, merchant.client_key_file.clone()))
        })
        .collect();
    let read = |(name, mch_id, certificate, key): (String, MchId, PathBuf, Option<PathBuf>)| {
        let certificate = MerchantCertificate::read(&certificate, key.as_deref(), &mch_id).ok()?;
        Some((name, certificate.not_after()))
    };
    let work = tokio::task::spawn_blocking(move || files.into_iter().filter_map(read).collect());
    work.await.unwrap_or_default()
}
