//! The first page: is money coming in, does anything stand still, has a person to act.

use std::path::PathBuf;
use std::time::Duration;

use super::operator::Operator;
use crate::bus::{Bus, Lag};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::ids::{AppKey, MchId, MerchantKey};
use crate::money::Fen;
use crate::order::PaymentClass;
use crate::store::{
    Arrival, COUNTED_MAX, DbError, DbKind, DeadLetterGroup, Degraded, JobView, Store, StoredFault, Sum,
};
use crate::wechat::certificate::MerchantCertificate;

/// How long the queue may take to say how far behind it is.
const LAG_TIMEOUT: Duration = Duration::from_secs(1);
/// Lags of payments that are older say nothing of today.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// Minutes that are shown one by one.
const MINUTES: i64 = 60;
const MINUTE_MS: i64 = 60_000;

/// A certificate that ends within this has to be replaced.
const ENDING: Duration = Duration::from_secs(30 * 24 * 3600);

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
}

impl Waiting {
    pub fn is_nothing(&self) -> bool {
        self.money.is_empty() && self.dead_letters.is_empty() && self.faults.is_empty()
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
    /// Whether the database takes writes.
    pub takes_writes: bool,
    /// Events that are not published yet.
    pub outbox_pending: i64,
    pub jobs: Vec<JobView>,
}

/// All that the first page shows.
#[derive(Debug)]
pub struct Figures {
    pub at: Timestamp,
    pub days: Vec<MerchantDay>,
    /// What was paid in each of the last minutes, the oldest first; `from` is the begin of the first one.
    pub minutes: Vec<Sum>,
    pub from: Timestamp,
    pub waiting: Waiting,
    pub ending: Vec<(String, Timestamp)>,
    /// Tokens that cannot be kept fresh.
    pub tokens: Vec<Degraded>,
    pub machinery: Machinery,
}

/// The figures of the merchants that the operator sees.
pub async fn figures(
    (store, bus, config): (&Store, &Bus, &Config),
    operator: &Operator,
    now: Timestamp,
) -> Result<Figures, DbError> {
    let from = Timestamp::from_ms((now.as_ms().div_euclid(MINUTE_MS) - MINUTES + 1) * MINUTE_MS);
    Ok(Figures {
        at: now,
        days: merchants(store, config, operator, now).await?,
        minutes: minutes(store, config, operator, from).await?,
        from,
        waiting: waiting(store, operator).await?,
        ending: ending_certificates(config, operator, now).await,
        tokens: degraded_tokens(store, config, operator).await?,
        machinery: machinery(store, bus).await?,
    })
}

async fn minutes(store: &Store, config: &Config, operator: &Operator, from: Timestamp) -> Result<Vec<Sum>, DbError> {
    let mut minutes = vec![Sum::default(); usize::try_from(MINUTES).unwrap_or_default()];
    for merchant in config.merchants.iter().map(|merchant| &merchant.key).filter(|merchant| operator.sees(merchant)) {
        for (minute, sum) in store.paid_by_minute(merchant, from).await? {
            // WeChat's clock may be ahead of ours.
            if let Some(all) = usize::try_from(minute).ok().and_then(|minute| minutes.get_mut(minute)) {
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
pub async fn merchants(
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
pub async fn waiting(store: &Store, operator: &Operator) -> Result<Waiting, DbError> {
    let mut money = store.waiting_money().await?;
    money.retain(|(merchant, ..)| operator.sees(merchant));
    let mut faults = store.setup_faults().await?;
    faults.retain(|fault| operator.sees(&fault.merchant));
    Ok(Waiting { money, dead_letters: super::dead_letters::groups(store, operator).await?, faults })
}

/// Queue, events and jobs.
pub async fn machinery(store: &Store, bus: &Bus) -> Result<Machinery, DbError> {
    let lags = tokio::time::timeout(LAG_TIMEOUT, bus.lag()).await.ok().and_then(Result::ok);
    let database = store.db();
    Ok(Machinery {
        lags,
        is_nats: bus.is_nats(),
        database: database.kind(),
        takes_writes: database.health().await?.takes_writes,
        outbox_pending: store.outbox_pending().await?,
        jobs: store.jobs().await?,
    })
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
pub async fn ending_certificates(config: &Config, operator: &Operator, now: Timestamp) -> Vec<(String, Timestamp)> {
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
