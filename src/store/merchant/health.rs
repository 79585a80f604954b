//! What of each merchant does not work, for all processes. Its event is written in the transaction that begins or ends
//! it: one of each, however many processes find it.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::event::domain::{DomainData, DomainEvent, EncodedEvent, MerchantTrouble};
use crate::event::fact::WechatError;
use crate::ids::{AppKey, MerchantKey};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::evidence::outbox_row;
use crate::store::merchant::setup_faults::FaultScope;
use crate::store::order::rows::broken;
use crate::store::outbox::write_events;
use crate::store::writer::{Row, WriteTx};
use crate::trade::TradeType;

/// That it is still refused is written once in this time.
const SEEN_EVERY: Duration = Duration::from_secs(60);

/// What may not work of a merchant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// Its key, number or address: all calls.
    Merchant,
    /// Its certificate: refunds alone.
    Refunds,
    /// Its orders through one app.
    App(AppKey),
    /// Its orders of one trade type through one app. A row of before it was kept by app has none.
    TradeType(TradeType, Option<AppKey>),
    /// Notifications at its address do not verify. Any sender can cause that: a hint and no more.
    Notifications,
}

impl Part {
    /// Its name in the database, in events and metrics.
    pub fn to_text(&self) -> String {
        match self {
            Part::Merchant => "merchant".into(),
            Part::Refunds => "refunds".into(),
            Part::App(app) => format!("app:{app}"),
            Part::TradeType(trade_type, None) => format!("trade_type:{}", trade_type.as_str()),
            Part::TradeType(trade_type, Some(app)) => format!("trade_type:{}:{app}", trade_type.as_str()),
            Part::Notifications => "notifications".into(),
        }
    }

    /// Nothing where a later version has written it.
    fn parse(text: &str) -> Option<Part> {
        match text.split_once(':') {
            None if text == "merchant" => Some(Part::Merchant),
            None if text == "refunds" => Some(Part::Refunds),
            None if text == "notifications" => Some(Part::Notifications),
            Some(("app", app)) => AppKey::parse(app).ok().map(Part::App),
            Some(("trade_type", of)) => match of.split_once(':') {
                None => Some(Part::TradeType(TradeType::parse(of)?, None)),
                Some((name, app)) => Some(Part::TradeType(TradeType::parse(name)?, Some(AppKey::parse(app).ok()?))),
            },
            _ => None,
        }
    }

    /// The app whose orders alone it concerns.
    pub fn app(&self) -> Option<&AppKey> {
        match self {
            Part::App(app) => Some(app),
            Part::TradeType(_, app) => app.as_ref(),
            Part::Merchant | Part::Refunds | Part::Notifications => None,
        }
    }

    /// Whose faults, found by any version, it announces.
    fn fault_scope(&self) -> Option<FaultScope> {
        match self {
            Part::Merchant => Some(FaultScope::Calls),
            Part::Refunds => Some(FaultScope::Refunds),
            Part::App(_) | Part::TradeType(..) | Part::Notifications => None,
        }
    }

    /// Whether it may be forged.
    pub fn is_hint(&self) -> bool {
        matches!(self, Part::Notifications)
    }
}

/// Something that does not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degradation {
    pub merchant: MerchantKey,
    pub part: Part,
    /// A short stable name: `signature`, `app_id`, `permission`, `unverified` …
    pub reason: String,
    /// What to check, as the configuration names it.
    pub check: String,
    /// WeChat's words, where it said any.
    pub said: Option<WechatError>,
    /// A digest of the setup that was refused: with another one it is worth a probe at once.
    pub setup: String,
    pub since: Timestamp,
    /// When it was last refused, a minute early at most.
    pub seen_at: Timestamp,
    pub next_probe_at: Timestamp,
}

impl Degradation {
    fn code(&self) -> Option<String> {
        self.said.as_ref().map(|said| said.code.clone())
    }

    fn event(&self, at: Timestamp, data: fn(MerchantTrouble) -> DomainData) -> EncodedEvent {
        let trouble = MerchantTrouble {
            what: self.part.to_text(),
            reason: self.reason.clone(),
            check: self.check.clone(),
            is_hint: self.part.is_hint(),
            wechat: self.said.clone(),
            since: self.since,
        };
        DomainEvent { merchant: self.merchant.clone(), order_no: None, data: data(trouble) }.encode(at)
    }
}

/// When what has ended may begin again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    Always,
    /// Where it began at this time or earlier.
    BegunBy(Timestamp),
    /// Where it ended at this time or earlier.
    EndedBy(Timestamp),
}

/// A probe of what ended after a time under a setup and is refused again.
#[derive(Debug, Clone)]
pub struct ProbeClaim {
    pub setup: String,
    pub ended_after: Timestamp,
    pub now: Timestamp,
    /// The pause between two probes.
    pub every: Duration,
}

/// The reason in the row of what ended because it is no longer configured.
const REMOVED: &str = "removed";

const COLUMNS: &str = "merchant, what, reason, check_key, code, message, setup, since_ms, seen_ms, next_probe_at_ms";

impl Store {
    /// What does not work now, of every merchant.
    pub async fn degradations(&self) -> Result<Vec<Degradation>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM merchant_health WHERE ended_ms IS NULL ORDER BY merchant, what");
        let rows = self.db.reader().rows(&sql, []).await?;
        rows.iter().filter_map(|row| degradation(row).transpose()).collect()
    }

    /// Notes that something does not work; `true` where this begins it.
    pub async fn begin_degradation(&self, found: &Degradation, again: Again) -> Result<bool, DbError> {
        // Mostly it is known, which is found without a writer.
        if let Some(known) = self.degradation(&found.merchant, &found.part).await? {
            if found.seen_at.since(known.seen_at) >= SEEN_EVERY {
                let (setup, next_probe_at) = (known.setup.clone(), known.next_probe_at);
                self.still_degraded(&known, &Degradation { setup, next_probe_at, ..found.clone() }).await?;
            }
            return Ok(false);
        }
        let event = found.event(found.since, DomainData::MerchantDegraded);
        let write = (found.clone(), again, event);
        let begun = self
            .db
            .write("merchant.degraded", write, |tx, (found, again, event)| Box::pin(begin(tx, found, *again, event)))
            .await?;
        if begun {
            self.changed();
        }
        Ok(begun)
    }

    /// It works again; `true` for the one process that ends it.
    pub async fn end_degradation(&self, ended: &Degradation, at: Timestamp) -> Result<bool, DbError> {
        let write = (ended.clone(), at, ended.event(at, DomainData::MerchantRecovered));
        let is_ended = self
            .db
            .write("merchant.recovered", write, |tx, (ended, at, event)| Box::pin(end(tx, ended, *at, event)))
            .await?;
        if is_ended {
            self.changed();
        }
        Ok(is_ended)
    }

    /// What does not work of one part of a merchant.
    pub async fn degradation(&self, merchant: &MerchantKey, part: &Part) -> Result<Option<Degradation>, DbError> {
        let sql =
            format!("SELECT {COLUMNS} FROM merchant_health WHERE merchant = $1 AND what = $2 AND ended_ms IS NULL");
        let values = [merchant.as_str().into(), part.to_text().into()];
        let rows = self.db.reader().rows(&sql, values).await?;
        Ok(rows.first().map(degradation).transpose()?.flatten())
    }

    /// It is refused again, under this setup, to be probed again then. Another reason than was `known` is one event,
    /// from the process that writes it.
    pub async fn still_degraded(&self, known: &Degradation, found: &Degradation) -> Result<(), DbError> {
        let still = Degradation { since: known.since, seen_at: found.seen_at.max(known.seen_at), ..found.clone() };
        let is_other = known.reason != still.reason || known.code() != still.code();
        let event = is_other.then(|| still.event(found.seen_at, DomainData::MerchantDegraded));
        let write = (known.clone(), still, event);
        self.db
            .write("merchant.stays_degraded", write, |tx, (known, still, event)| {
                Box::pin(stay(tx, known, still, event.as_ref()))
            })
            .await
    }

    /// Whether this process may probe now what ended lately; none where nothing ended so.
    pub async fn claim_probe(
        &self,
        merchant: &MerchantKey,
        part: &Part,
        claim: ProbeClaim,
    ) -> Result<Option<bool>, DbError> {
        let ended = "merchant = $1 AND what = $2 AND setup = $3 AND ended_ms > $4";
        let values =
            [merchant.as_str().into(), part.to_text().into(), claim.setup.into(), claim.ended_after.as_ms().into()];
        let sql = format!("SELECT 1 AS one FROM merchant_health WHERE {ended}");
        if self.db.reader().rows(&sql, values.clone()).await?.is_empty() {
            return Ok(None);
        }
        // A time that is further ahead than any pause was written under clock skew.
        let sql = format!(
            "UPDATE merchant_health SET next_probe_at_ms = $5
             WHERE {ended} AND (next_probe_at_ms <= $6 OR next_probe_at_ms > $7)"
        );
        let (next, far) = (claim.now.after(claim.every), claim.now.after(claim.every * 2));
        let more = [next.as_ms().into(), claim.now.as_ms().into(), far.as_ms().into()];
        let values: Vec<_> = values.into_iter().chain(more).collect();
        Ok(Some(self.db.execute("merchant.claim_probe", sql, values).await? > 0))
    }

    /// What is no longer configured ends without an event: it does not work again.
    pub async fn remove_degradation(&self, removed: &Degradation, at: Timestamp) -> Result<bool, DbError> {
        let sql = "UPDATE merchant_health SET ended_ms = $4, reason = $5
                   WHERE merchant = $1 AND what = $2 AND since_ms = $3 AND ended_ms IS NULL";
        let values = [
            removed.merchant.as_str().into(),
            removed.part.to_text().into(),
            removed.since.as_ms().into(),
            at.as_ms().into(),
            REMOVED.into(),
        ];
        Ok(self.db.execute("merchant.removed", sql, values).await? > 0)
    }

    /// Whether a notification of the merchant that verified was received at this time or later.
    pub async fn has_verified_since(&self, merchant: &MerchantKey, at: Timestamp) -> Result<bool, DbError> {
        let sql = "SELECT 1 AS one FROM notifications WHERE received_at_ms >= $2 AND merchant = $1 LIMIT 1";
        let rows = self.db.reader().rows(sql, [merchant.as_str().into(), at.as_ms().into()]).await?;
        Ok(!rows.is_empty())
    }
}

async fn begin(tx: &WriteTx, found: &Degradation, again: Again, event: &EncodedEvent) -> Result<bool, DbError> {
    if let Some(scope) = found.part.fault_scope() {
        // Read before, it may have ended meanwhile.
        let sql = "SELECT 1 AS one FROM merchant_faults WHERE merchant = $1 AND scope = $2 LIMIT 1";
        if tx.one(sql, [found.merchant.as_str().into(), scope.as_str().into()]).await?.is_none() {
            return Ok(false);
        }
    }
    let (begun_by, ended_by) = match again {
        Again::Always => (i64::MAX, i64::MAX),
        Again::BegunBy(at) => (at.as_ms(), i64::MAX),
        Again::EndedBy(at) => (i64::MAX, at.as_ms()),
    };
    let sql = "INSERT INTO merchant_health (merchant, what, reason, check_key, code, message, setup, since_ms, seen_ms,
                                            next_probe_at_ms, ended_ms)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, NULL)
               ON CONFLICT (merchant, what) DO UPDATE
                 SET reason = excluded.reason, check_key = excluded.check_key, code = excluded.code,
                     message = excluded.message, setup = excluded.setup, since_ms = excluded.since_ms,
                     seen_ms = excluded.seen_ms, next_probe_at_ms = excluded.next_probe_at_ms, ended_ms = NULL
                 WHERE merchant_health.since_ms <= $11 AND merchant_health.ended_ms <= $12";
    let values = [
        found.merchant.as_str().into(),
        found.part.to_text().into(),
        found.reason.as_str().into(),
        found.check.as_str().into(),
        found.code().into(),
        found.said.as_ref().map(|said| said.message.clone()).into(),
        found.setup.as_str().into(),
        found.since.as_ms().into(),
        found.seen_at.as_ms().into(),
        found.next_probe_at.as_ms().into(),
        begun_by.into(),
        ended_by.into(),
    ];
    let begun = tx.execute(sql, values).await? > 0;
    if begun {
        write_events(tx, vec![outbox_row(event)]).await?;
    }
    Ok(begun)
}

/// Of processes that find another reason at once, one writes it.
async fn stay(
    tx: &WriteTx,
    known: &Degradation,
    still: &Degradation,
    event: Option<&EncodedEvent>,
) -> Result<(), DbError> {
    let sql = "UPDATE merchant_health SET setup = $4, next_probe_at_ms = $5, reason = $6, check_key = $7, code = $8,
                 message = $9, seen_ms = $10
               WHERE merchant = $1 AND what = $2 AND since_ms = $3 AND ended_ms IS NULL
                 AND reason = $11 AND COALESCE(code, '') = $12";
    let values = [
        still.merchant.as_str().into(),
        still.part.to_text().into(),
        known.since.as_ms().into(),
        still.setup.as_str().into(),
        still.next_probe_at.as_ms().into(),
        still.reason.as_str().into(),
        still.check.as_str().into(),
        still.code().into(),
        still.said.as_ref().map(|said| said.message.clone()).into(),
        still.seen_at.as_ms().into(),
        known.reason.as_str().into(),
        known.code().unwrap_or_default().into(),
    ];
    let is_written = tx.execute(sql, values).await? > 0;
    if let Some(event) = event.filter(|_| is_written) {
        write_events(tx, vec![outbox_row(event)]).await?;
    }
    Ok(())
}

/// The incident that was read, and no later one.
async fn end(tx: &WriteTx, ended: &Degradation, at: Timestamp, event: &EncodedEvent) -> Result<bool, DbError> {
    let sql = "UPDATE merchant_health SET ended_ms = $4
               WHERE merchant = $1 AND what = $2 AND since_ms = $3 AND ended_ms IS NULL";
    let values =
        [ended.merchant.as_str().into(), ended.part.to_text().into(), ended.since.as_ms().into(), at.as_ms().into()];
    let is_ended = tx.execute(sql, values).await? > 0;
    if is_ended {
        write_events(tx, vec![outbox_row(event)]).await?;
    }
    Ok(is_ended)
}

fn degradation(row: &Row) -> Result<Option<Degradation>, DbError> {
    let (merchant, what): (String, String) = (row.get("merchant")?, row.get("what")?);
    let Some(part) = Part::parse(&what) else { return Ok(None) };
    let code: Option<String> = row.get("code")?;
    let message: Option<String> = row.get("message")?;
    Ok(Some(Degradation {
        merchant: MerchantKey::parse(merchant).map_err(broken("merchant"))?,
        part,
        reason: row.get("reason")?,
        check: row.get("check_key")?,
        said: code.map(|code| WechatError { code, message: message.unwrap_or_default() }),
        setup: row.get("setup")?,
        since: Timestamp::from_ms(row.get("since_ms")?),
        seen_at: Timestamp::from_ms(row.get("seen_ms")?),
        next_probe_at: Timestamp::from_ms(row.get("next_probe_at_ms")?),
    }))
}
