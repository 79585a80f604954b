//! Permits to call WeChat, leased to processes: one row per merchant and API says until when its time is given out.
//!
//! A process takes a number of calls at once by moving that moment on; all processes together then keep to the rate.
//! The row also holds how long WeChat wants to be left alone after it was called too often. All times are the
//! database's. A moment further ahead than any pause was written while its clock was ahead, and counts as passed.

use std::time::Duration;

use sea_orm::ConnectionTrait;

use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};

/// The first pause after WeChat said that it is called too often, and the longest; it doubles while that goes on.
const BACKOFF_MS: (i64, i64) = (1_000, 60_000);
/// A pause that ended longer ago than it lasted, and this, is forgotten: the next one is the first again.
const FORGOTTEN_MS: i64 = 10_000;
/// No permit and no pause lies further ahead.
const AHEAD_MS: i64 = 120_000;
/// A call that began so shortly before the end of a pause began after it: clocks are read in milliseconds.
const ROUNDING_MS: i64 = 20;

/// Whether calls may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permits {
    /// All that were asked for, the first one after this.
    After(Duration),
    /// None before this: too many wait already, or WeChat wants to be left alone.
    NotWithin(Duration),
}

impl Store {
    /// Takes `count` permits that lie `interval` apart, unless the first one lies further ahead than `longest`.
    pub async fn take_permits(
        &self,
        merchant: &MerchantKey,
        api: &'static str,
        (count, interval): (u32, Duration),
        longest: Duration,
    ) -> Result<Permits, DbError> {
        let now = self.db.now_ms_sql();
        let free = self.free_from();
        let sql = format!(
            "INSERT INTO call_rates (merchant, api, reserved_until_us, backoff_ms, resume_at_ms)
             VALUES ($1, $2, {now} * 1000 + $3, 0, 0)
             ON CONFLICT (merchant, api) DO UPDATE SET reserved_until_us = {free} + $3
             WHERE {free} <= {now} * 1000 + $4
             RETURNING reserved_until_us - $3 - {now} * 1000 AS ahead_us"
        );
        let [slice_us, longest_us] =
            [interval * count, longest].map(|d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
        let values = [merchant.as_str().into(), api.into(), slice_us.into(), longest_us.into()];
        let row = self.db.execute_returning("calls.take", sql, values).await?;
        if let Some(row) = row {
            return Ok(Permits::After(micros(row.get("ahead_us")?)));
        }
        let sql = format!("SELECT {free} - {now} * 1000 AS ahead_us FROM call_rates WHERE merchant = $1 AND api = $2");
        Ok(Permits::NotWithin(micros(self.ahead(sql, merchant, api).await?)))
    }

    /// How long WeChat still wants to be left alone; zero mostly. Writes nothing.
    pub async fn calls_pause(&self, merchant: &MerchantKey, api: &'static str) -> Result<Duration, DbError> {
        let resumes = self.passed_if_far("call_rates.resume_at_ms", 1);
        let now = self.db.now_ms_sql();
        let sql =
            format!("SELECT ({resumes} - {now}) * 1000 AS ahead_us FROM call_rates WHERE merchant = $1 AND api = $2");
        Ok(micros(self.ahead(sql, merchant, api).await?))
    }

    /// Notes that WeChat said, to a call that began so long ago, that it is called too often: nothing is called for a
    /// second, then for twice as long each time. Calls that began before the end of the last pause change nothing.
    /// Returns how long the pause lasts from now.
    pub async fn back_off(
        &self,
        merchant: &MerchantKey,
        api: &'static str,
        began: Duration,
    ) -> Result<Duration, DbError> {
        let now = self.db.now_ms_sql();
        let resumed = self.passed_if_far("call_rates.resume_at_ms", 1);
        let (first, longest) = BACKOFF_MS;
        let lasts = format!(
            "CASE WHEN call_rates.backoff_ms = 0 OR {now} - {resumed} > call_rates.backoff_ms + {FORGOTTEN_MS}
               THEN {first} ELSE {least}(call_rates.backoff_ms * 2, {longest}) END",
            least = self.least(),
        );
        let sql = format!(
            "INSERT INTO call_rates (merchant, api, reserved_until_us, backoff_ms, resume_at_ms)
             VALUES ($1, $2, 0, {first}, {now} + {first})
             ON CONFLICT (merchant, api) DO UPDATE SET backoff_ms = {lasts}, resume_at_ms = {now} + {lasts}
             WHERE {resumed} <= {now} - $3 + {ROUNDING_MS}
             RETURNING backoff_ms"
        );
        let began_ms = i64::try_from(began.as_millis()).unwrap_or(i64::MAX).min(AHEAD_MS);
        let values = [merchant.as_str().into(), api.into(), began_ms.into()];
        match self.db.execute_returning("calls.back_off", sql, values).await? {
            Some(row) => Ok(Duration::from_millis(u64::try_from(row.get::<i64>("backoff_ms")?).unwrap_or_default())),
            None => self.calls_pause(merchant, api).await,
        }
    }

    async fn ahead(&self, sql: String, merchant: &MerchantKey, api: &'static str) -> Result<i64, DbError> {
        let values = [merchant.as_str().into(), api.into()];
        let row = self.db.read().query_one_raw(self.db.statement(sql, values)).await?;
        Ok(row.map(|row| row.try_get("", "ahead_us")).transpose()?.unwrap_or_default())
    }

    /// From when on a permit is free, in microseconds.
    fn free_from(&self) -> String {
        let greatest = match self.db.kind() {
            DbKind::Sqlite => "MAX",
            DbKind::Postgres => "GREATEST",
        };
        let reserved = self.passed_if_far("call_rates.reserved_until_us", 1000);
        let resumes = self.passed_if_far("call_rates.resume_at_ms", 1);
        format!("{greatest}({} * 1000, {reserved}, {resumes} * 1000)", self.db.now_ms_sql())
    }

    fn least(&self) -> &'static str {
        match self.db.kind() {
            DbKind::Sqlite => "MIN",
            DbKind::Postgres => "LEAST",
        }
    }

    /// A column's moment, in the unit of which a millisecond has so many.
    fn passed_if_far(&self, column: &str, per_ms: i64) -> String {
        let now = self.db.now_ms_sql();
        format!("(CASE WHEN {column} > ({now} + {AHEAD_MS}) * {per_ms} THEN 0 ELSE {column} END)")
    }
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or_default())
}
