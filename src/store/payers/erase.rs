//! An erasure, asked for and done in steps.
//!
//! What must stay true: a step and the place that it reached are one write, which counts only from the place where it
//! began, so that a killed process costs one step and two processes do none twice.

use std::time::Duration;

use super::key::Payers;
use super::scan::{Change, Page, Payer};
use super::types::{COLUMNS, Counts, Erasure, ErasureState, Needed, Part, Place, erasure};
use super::{messages, orders};
use crate::clock::Timestamp;
use crate::ids::{AppKey, OpenId};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::ops::filter::Conditions;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::{Row, WriteTx};

/// Pages without a payer that are read before their place is written.
const PAGES: u32 = 50;
/// After which something that is still needed is checked again; twice as long each time, for each time reads every row.
const AGAIN_MS: i64 = 600_000;
/// The longest of these times.
const AGAIN_MOST_MS: i64 = 21_600_000;
/// After which a step that failed is done again; twice as long each time.
const FAILED_MS: i64 = 60_000;
/// Of an error's words.
const ERROR_CHARS: usize = 300;
/// Rows that cannot be read, among those that are due, and are passed over.
const UNREADABLE: u64 = 100;

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// There is more to do at once.
    On,
    /// It waits, or has ended.
    Over,
    /// Another process did the step.
    Elsewhere,
}

impl Store {
    /// The erasure with this number.
    pub async fn erasure(&self, id: i64) -> Result<Option<Erasure>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM erasures WHERE id = $1");
        self.db.reader().rows(&sql, [id.into()]).await?.first().map(erasure).transpose()
    }

    /// Up to `limit` erasures of these apps (of all where none are given), newest first, older than `before`; and
    /// before which one there may be more. One that cannot be read is left out, and ends no list.
    pub async fn erasures(
        &self,
        apps: Option<&[&AppKey]>,
        before: Option<i64>,
        limit: u64,
    ) -> Result<(Vec<Erasure>, Option<i64>), DbError> {
        let mut only = Conditions::default();
        if let Some(apps) = apps {
            only.one_of("app", apps.iter().map(|app| app.as_str()));
        }
        only.add_option("id < {}", before);
        let sql = format!("SELECT {COLUMNS} FROM erasures WHERE {} ORDER BY id DESC LIMIT {limit}", only.text());
        let rows = self.db.reader().rows(&sql, only.values()).await?;
        let last = rows.last().filter(|_| rows.len() as u64 >= limit).map(|row| row.get("id")).transpose()?;
        Ok((readable(&rows).collect(), last))
    }

    /// Erasures that are due, the longest due first. One that cannot be read keeps none of the others.
    pub async fn due_erasures(&self, now: Timestamp, limit: u64) -> Result<Vec<Erasure>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM erasures WHERE next_at_ms IS NOT NULL AND next_at_ms <= $1
             ORDER BY next_at_ms, id LIMIT {}",
            limit.saturating_add(UNREADABLE)
        );
        let rows = self.db.reader().rows(&sql, [now.as_ms().into()]).await?;
        Ok(readable(&rows).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())
    }

    /// Notes that a step of an erasure failed: it is done again later, and keeps none of the others.
    pub async fn put_off_erasure(&self, of: &Erasure, error: &str, now: Timestamp) -> Result<(), DbError> {
        let openid = of.openid.as_ref().map(OpenId::as_str).unwrap_or_default();
        let error: String = error.replace(openid, &of.payer).chars().take(ERROR_CHARS).collect();
        let next_at = now.as_ms().saturating_add(longer(FAILED_MS, of.tries));
        let sql = "UPDATE erasures SET error = $1, tries = tries + 1, next_at_ms = $2 WHERE id = $3 AND state <> 'done'
                     AND pass = $4";
        let values = [error.into(), next_at.into(), of.id.into(), of.place.pass.into()];
        self.db.execute("erasure.put_off", sql, values).await?;
        Ok(())
    }

    /// Does the next step of an erasure, and notes it in `of`.
    pub async fn step_erasure(&self, of: &mut Erasure, now: Timestamp) -> Result<Stepped, DbError> {
        let Some(openid) = of.openid.clone() else { return Ok(Stepped::Over) };
        let payers = self.payers().await?.clone();
        if of.place.part == Part::Logins {
            // A single page, the first one of this way.
            of.place.began_at = now.as_ms();
        }
        let mut read = self.read_on(of, openid.as_str(), &payers).await?;
        if read.is_over {
            let missing = self.missing_payer_keys().await?;
            if missing > 0 {
                read.place.found.insert(Needed::Keys.as_str().to_owned(), missing);
            }
        }
        let (goal, changes) = (Goal::of(of, read.place, read.is_over, now), read.changes);
        let step = Step { of: of.clone(), goal: goal.clone(), changes, now };
        let Some((changed, removed)) =
            self.db.write("erasure.step", step, |tx, step| Box::pin(write(tx, step))).await?
        else {
            return Ok(Stepped::Elsewhere);
        };
        crate::failpoint::point("erasure.stepped");
        of.changed += changed;
        of.removed += removed;
        of.state = goal.state;
        of.place = goal.place;
        of.waits_for = goal.waits_for;
        of.next_at = goal.next_at;
        of.tries = goal.tries;
        of.error = None;
        Ok(if goal.state == ErasureState::Running { Stepped::On } else { Stepped::Over })
    }

    /// Reads on until there is something to change.
    async fn read_on(&self, of: &Erasure, openid: &str, payers: &Payers) -> Result<Read, DbError> {
        let payer = Payer::new(of, openid, payers);
        let mut place = of.place.clone();
        for _ in 0..PAGES {
            let Page { changes, found, next, .. } = self.erasure_page(&payer, &place).await?;
            for needed in found {
                *place.found.entry(needed.as_str().to_owned()).or_default() += 1;
            }
            place.is_dirty |= !changes.is_empty();
            match (next, place.part.next()) {
                (Some(key), _) => place.key = key,
                (None, Some(part)) => (place.part, place.key) = (part, String::new()),
                (None, None) => return Ok(Read { place, changes, is_over: true }),
            }
            if !changes.is_empty() {
                return Ok(Read { place, changes, is_over: false });
            }
        }
        Ok(Read { place, changes: Vec::new(), is_over: false })
    }

    async fn erasure_page(&self, payer: &Payer<'_>, place: &Place) -> Result<Page, DbError> {
        let key = place.key.as_str();
        match place.part {
            Part::Logins => messages::logins(self, payer).await,
            Part::Orders => orders::orders(self, payer, key).await,
            Part::Evidence => orders::evidence(self, payer, key).await,
            Part::Notifications => messages::notifications(self, payer, key).await,
            Part::RefusedBodies => messages::refused_bodies(self, payer, key).await,
            Part::Quarantine => messages::quarantine(self, payer, key).await,
            Part::DeadLetters => messages::dead_letters(self, payer, key).await,
            Part::Deferred => messages::deferred(self, payer).await,
            Part::Queue => messages::queue(self, payer, key).await,
        }
    }
}

fn readable(rows: &[Row]) -> impl Iterator<Item = Erasure> {
    rows.iter()
        .filter_map(|row| erasure(row).inspect_err(|error| tracing::error!(%error, "An erasure cannot be read")).ok())
}

/// What was read: the place reached, and what is to be changed.
struct Read {
    place: Place,
    changes: Vec<Change>,
    /// Whether all tables were gone through.
    is_over: bool,
}

/// What an erasure is after a step.
#[derive(Debug, Clone)]
struct Goal {
    state: ErasureState,
    place: Place,
    waits_for: Counts,
    next_at: Option<Timestamp>,
    tries: i64,
}

impl Goal {
    /// Tables that were changed are gone through once more, for what came behind the place meanwhile.
    /// The last way is one that found nothing, and began when nothing of before the request could still come.
    fn of(of: &Erasure, place: Place, is_over: bool, now: Timestamp) -> Goal {
        if !is_over {
            let (waits_for, tries) = (of.waits_for.clone(), of.tries);
            return Goal { state: ErasureState::Running, place, waits_for, next_at: Some(now), tries };
        }
        let again = now.after(Duration::from_millis(longer(AGAIN_MS, of.tries).unsigned_abs()));
        let is_last = place.began_at >= of.last_pass_from.as_ms();
        let mut waits_for = place.found;
        let (state, next_at) = match (place.is_dirty, waits_for.is_empty()) {
            (true, _) => (ErasureState::Running, Some(now)),
            (false, false) => (ErasureState::Waiting, Some(again)),
            (false, true) if is_last => (ErasureState::Done, None),
            (false, true) => {
                waits_for.insert(Needed::LastPass.as_str().to_owned(), 1);
                (ErasureState::Waiting, Some(of.last_pass_from.max(now)))
            }
        };
        let tries = of.tries + i64::from(state == ErasureState::Waiting);
        Goal { state, place: Place::begin(place.pass + 1), waits_for, next_at, tries }
    }
}

/// Twice as long after each try.
fn longer(first: i64, tries: i64) -> i64 {
    let doubled = u32::try_from(tries.clamp(0, 20)).ok().and_then(|tries| first.checked_shl(tries));
    doubled.unwrap_or(AGAIN_MOST_MS).min(AGAIN_MOST_MS)
}

struct Step {
    of: Erasure,
    goal: Goal,
    changes: Vec<Change>,
    now: Timestamp,
}

const PLACE: &str = "UPDATE erasures SET state = $1, pass = $2, part = $3, place = $4, dirty = $5, found = $6,
      waits_for = $7, next_at_ms = $8, ended_at_ms = $9, began_at_ms = $14, tries = $15, error = NULL,
      openid = CASE WHEN $1 = 'done' THEN NULL ELSE openid END
    WHERE id = $10 AND state <> 'done' AND pass = $11 AND part = $12 AND place = $13";

/// Rows changed and removed; none where the place is another one by now.
async fn write(tx: &WriteTx, step: &Step) -> Result<Option<(i64, i64)>, DbError> {
    let Step { of, goal, changes, now } = step;
    let text = |counts: &Counts| serde_json::to_string(counts).map_err(|e| DbError::Defect(e.to_string()));
    let is_done = goal.state == ErasureState::Done;
    let values = [
        goal.state.as_str().into(),
        goal.place.pass.into(),
        goal.place.part.as_str().into(),
        goal.place.key.clone().into(),
        goal.place.is_dirty.into(),
        text(&goal.place.found)?.into(),
        text(&goal.waits_for)?.into(),
        goal.next_at.map(Timestamp::as_ms).into(),
        is_done.then_some(now.as_ms()).into(),
        of.id.into(),
        of.place.pass.into(),
        of.place.part.as_str().into(),
        of.place.key.clone().into(),
        goal.place.began_at.into(),
        goal.tries.into(),
    ];
    if tx.execute(PLACE, values).await? == 0 {
        return Ok(None);
    }
    let (mut changed, mut removed) = (0, 0);
    for change in changes {
        let rows = i64::try_from(tx.execute(change.sql, change.values.clone()).await?).unwrap_or(i64::MAX);
        *(if change.removes { &mut removed } else { &mut changed }) += rows;
    }
    let sql = "UPDATE erasures SET changed = changed + $1, removed = removed + $2 WHERE id = $3";
    tx.execute(sql, [changed.into(), removed.into(), of.id.into()]).await?;
    if is_done {
        write_audit(tx, &ended(of, *now)).await?;
    }
    Ok(Some((changed, removed)))
}

/// The audit's row of an erasure that has ended.
fn ended(of: &Erasure, now: Timestamp) -> AuditEntry {
    let [actor, actor_id, remote_addr] = of.asked_by.clone();
    AuditEntry {
        at: now,
        actor,
        actor_id: Some(actor_id),
        remote_addr,
        action: "payer.erased",
        merchant: None,
        order_no: None,
        transaction_id: None,
        subject: Some(format!("erasure:{}", of.id)),
        reason: of.reason.clone(),
        result: "done".to_owned(),
    }
}
