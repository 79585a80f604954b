//! An erasure, asked for and done in steps.
//!
//! What must stay true: a step and the place that it reached are one write, which counts only from the place where it
//! began, so that a killed process costs one step and two processes do none twice.

use super::key::Payers;
use super::scan::{Change, Page, Payer};
use super::types::{COLUMNS, Counts, Erasure, ErasureState, Part, Place, erasure};
use super::{messages, orders};
use crate::clock::Timestamp;
use crate::ids::{AppKey, OpenId};
use crate::store::Store;
use crate::store::db::DbError;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::users::END_SESSIONS;
use crate::store::writer::WriteTx;

/// Pages without a payer that are read before their place is written.
const PAGES: u32 = 50;
/// After which something that is still needed is checked again.
const AGAIN_MS: i64 = 600_000;

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
    /// Asks for the erasure of a payer, whose sessions end at once, and records who asked. One that has not ended yet
    /// is the answer instead, and goes on at once.
    pub async fn ask_erasure(&self, (app, openid): (&AppKey, &OpenId), audit: &AuditEntry) -> Result<Erasure, DbError> {
        let payer = self.payers().await?.name(openid.as_str());
        let write = (app.clone(), openid.clone(), payer, audit.clone());
        self.db
            .write("erasure.ask", write, |tx, (app, openid, payer, audit)| {
                Box::pin(ask(tx, app, (openid, payer), audit))
            })
            .await
    }

    /// The erasure with this number.
    pub async fn erasure(&self, id: i64) -> Result<Option<Erasure>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM erasures WHERE id = $1");
        self.db.reader().rows(&sql, [id.into()]).await?.first().map(erasure).transpose()
    }

    /// Erasures that are due, the longest due first.
    pub async fn due_erasures(&self, now: Timestamp, limit: u64) -> Result<Vec<Erasure>, DbError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM erasures WHERE next_at_ms IS NOT NULL AND next_at_ms <= $1
             ORDER BY next_at_ms, id LIMIT {limit}"
        );
        self.db.reader().rows(&sql, [now.as_ms().into()]).await?.iter().map(erasure).collect()
    }

    /// Does the next step of an erasure, and notes it in `of`.
    pub async fn step_erasure(&self, of: &mut Erasure, now: Timestamp) -> Result<Stepped, DbError> {
        let Some(openid) = of.openid.clone() else { return Ok(Stepped::Over) };
        let payers = self.payers().await?.clone();
        let read = self.read_on(of, openid.as_str(), &payers).await?;
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
        Ok(if goal.state == ErasureState::Running { Stepped::On } else { Stepped::Over })
    }

    /// Reads on until there is something to change.
    async fn read_on(&self, of: &Erasure, openid: &str, payers: &Payers) -> Result<Read, DbError> {
        let payer = Payer::new(&of.app, (openid, &of.payer), payers, of.asked_at.as_ms());
        let mut place = of.place.clone();
        for _ in 0..PAGES {
            let Page { changes, found, next } = self.erasure_page(&payer, &place).await?;
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
}

impl Goal {
    /// Tables that were changed are gone through once more, for what came behind the place meanwhile.
    fn of(of: &Erasure, place: Place, is_over: bool, now: Timestamp) -> Goal {
        if !is_over {
            let waits_for = of.waits_for.clone();
            return Goal { state: ErasureState::Running, place, waits_for, next_at: Some(now) };
        }
        let (state, next_at) = match (place.is_dirty, place.found.is_empty()) {
            (true, _) => (ErasureState::Running, Some(now)),
            (false, false) => (ErasureState::Waiting, Some(Timestamp::from_ms(now.as_ms() + AGAIN_MS))),
            (false, true) => (ErasureState::Done, None),
        };
        Goal { state, place: Place::begin(place.pass + 1), waits_for: place.found, next_at }
    }
}

struct Step {
    of: Erasure,
    goal: Goal,
    changes: Vec<Change>,
    now: Timestamp,
}

const ASK: &str = "INSERT INTO erasures (app, payer, openid, reason, asked_by, asked_by_id, remote_addr, asked_at_ms,
                                         state, next_at_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'running', $8)
    ON CONFLICT (app, payer) WHERE state <> 'done' DO UPDATE SET next_at_ms = excluded.next_at_ms, state = 'running'
      WHERE erasures.state = 'waiting'";

async fn ask(
    tx: &WriteTx,
    app: &AppKey,
    (openid, payer): (&OpenId, &str),
    audit: &AuditEntry,
) -> Result<Erasure, DbError> {
    let values = [
        app.as_str().into(),
        payer.into(),
        openid.as_str().into(),
        audit.reason.clone().into(),
        audit.actor.clone().into(),
        audit.actor_id.clone().unwrap_or_default().into(),
        audit.remote_addr.clone().into(),
        audit.at.as_ms().into(),
    ];
    tx.execute(ASK, values).await?;
    let sessions = [app.as_str().into(), openid.as_str().into(), audit.at.as_ms().into()];
    tx.execute(END_SESSIONS, sessions).await?;
    write_audit(tx, audit).await?;
    let sql = format!("SELECT {COLUMNS} FROM erasures WHERE app = $1 AND payer = $2 AND state <> 'done'");
    let row = tx.one(&sql, [app.as_str().into(), payer.into()]).await?;
    erasure(&row.ok_or_else(|| DbError::Defect("an erasure that was asked for is not there".into()))?)
}

const PLACE: &str = "UPDATE erasures SET state = $1, pass = $2, part = $3, place = $4, dirty = $5, found = $6,
      waits_for = $7, next_at_ms = $8, ended_at_ms = $9,
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
