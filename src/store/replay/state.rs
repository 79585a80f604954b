//! The state of replays. Each change is a compare-and-set, with its audit row in the same transaction.

use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::items::word;
use super::types::{NewReplay, Replay, ReplayKind, ReplayState};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, placeholders};
use crate::store::leases::{Fenced, Lease, holds};
use crate::store::ops::filter::Conditions;
use crate::store::order::rows::unreadable;
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::WriteTx;

const COLUMNS: &str = "id, kind, selection, merchants, reason, rate_per_second, total, state, planned_by, started_by,
                       created_at_ms, started_at_ms, ended_at_ms";

/// A change of a replay's state.
#[derive(Debug, Clone)]
pub struct ReplayChange {
    pub id: String,
    /// The states it is allowed from.
    pub from: &'static [ReplayState],
    pub to: ReplayState,
    pub audit: AuditEntry,
}

impl Store {
    /// Writes a plan whose items are written.
    pub async fn plan_replay(&self, new: &NewReplay, total: usize, at: Timestamp) -> Result<(), DbError> {
        let merchants = new.merchants.as_ref().map(serde_json::to_string).transpose();
        let sql = "INSERT INTO replays (id, kind, selection, merchants, reason, rate_per_second, total, state,
                                        planned_by, created_at_ms)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, 'planned', $8, $9)";
        let values: Vec<Value> = vec![
            new.id.as_str().into(),
            new.kind.as_str().into(),
            new.selection.as_str().into(),
            merchants.map_err(|e| unreadable("merchants", &e))?.into(),
            new.reason.as_str().into(),
            i64::from(new.rate_per_second).into(),
            i64::try_from(total).unwrap_or(i64::MAX).into(),
            new.planned_by.as_str().into(),
            at.as_ms().into(),
        ];
        self.db.execute("replay.plan", sql, values).await?;
        Ok(())
    }

    /// A replay.
    pub async fn replay(&self, id: &str) -> Result<Option<Replay>, DbError> {
        let sql = format!("SELECT {COLUMNS} FROM replays WHERE id = $1");
        let row = self.db.read().query_one_raw(self.db.statement(sql, [id.into()])).await?;
        row.map(|row| replay(&row)).transpose()
    }

    /// The replays that are to be worked on, without these: first the one that was started first.
    pub async fn running_replays(&self, except: &[String], limit: u64) -> Result<Vec<Replay>, DbError> {
        let mut only = String::new();
        if !except.is_empty() {
            only = format!(" AND id NOT IN {}", placeholders(1, except.len(), 0));
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM replays WHERE state = 'running'{only} ORDER BY started_at_ms, id LIMIT {limit}"
        );
        let values: Vec<Value> = except.iter().map(|id| id.as_str().into()).collect();
        let rows = self.db.read().query_all_raw(self.db.statement(sql, values)).await?;
        rows.iter().map(replay).collect()
    }

    /// Whether a replay is to be worked on still.
    pub async fn is_replay_running(&self, id: &str) -> Result<bool, DbError> {
        let sql = "SELECT 1 AS one FROM replays WHERE id = $1 AND state = 'running'";
        Ok(self.db.read().query_one_raw(self.db.statement(sql, [id.into()])).await?.is_some())
    }

    /// Up to `limit` replays older than the one with the id `before`, newest first: ids are in the order of time.
    pub async fn replays(
        &self,
        state: Option<ReplayState>,
        before: Option<&str>,
        limit: u64,
    ) -> Result<Vec<Replay>, DbError> {
        let mut only = Conditions::default();
        only.add_option("id < {}", before);
        only.add_option("state = {}", state.map(ReplayState::as_str));
        let sql = format!("SELECT {COLUMNS} FROM replays WHERE {} ORDER BY id DESC LIMIT {limit}", only.text());
        let rows = self.db.read().query_all_raw(self.db.statement(sql, only.values())).await?;
        rows.iter().map(replay).collect()
    }

    /// Changes a replay's state; `false` where it is in none of the states that allow it, and nothing was written.
    pub async fn change_replay(&self, change: &ReplayChange) -> Result<bool, DbError> {
        let changed = self.db.write("replay.change", change.clone(), |tx, change| Box::pin(apply(tx, change))).await?;
        if changed {
            self.changed();
        }
        Ok(changed)
    }

    /// Ends a replay of which every item has a result. Only the lease's holder may.
    pub async fn finish_replay(&self, lease: &Lease, id: &str, at: Timestamp) -> Result<Fenced<()>, DbError> {
        let write = (lease.clone(), id.to_owned(), at);
        let done = self.db.write("replay.finish", write, |tx, (lease, id, at)| Box::pin(finish(tx, lease, id, *at)));
        let done = done.await?;
        self.changed();
        Ok(done)
    }
}

async fn apply(tx: &WriteTx, change: &ReplayChange) -> Result<bool, DbError> {
    let from: Vec<String> = change.from.iter().map(|state| format!("'{}'", state.as_str())).collect();
    let ended = matches!(change.to, ReplayState::Done | ReplayState::Cancelled).then_some(change.audit.at);
    let starts = change.to == ReplayState::Running;
    let sql = format!(
        "UPDATE replays SET state = $2, ended_at_ms = $3,
           started_at_ms = COALESCE(started_at_ms, $4), started_by = COALESCE(started_by, $5)
         WHERE id = $1 AND state IN ({})",
        from.join(", ")
    );
    let values = [
        change.id.as_str().into(),
        change.to.as_str().into(),
        ended.map(Timestamp::as_ms).into(),
        starts.then_some(change.audit.at.as_ms()).into(),
        starts.then(|| change.audit.actor.clone()).into(),
    ];
    if tx.execute(&sql, values).await? == 0 {
        return Ok(false);
    }
    write_audit(tx, &change.audit).await?;
    Ok(true)
}

async fn finish(tx: &WriteTx, lease: &Lease, id: &str, at: Timestamp) -> Result<Fenced<()>, DbError> {
    if !holds(tx, lease).await? {
        return Ok(Fenced::Lost);
    }
    let sql = "UPDATE replays SET state = 'done', ended_at_ms = $2 WHERE id = $1 AND state = 'running'
               AND NOT EXISTS (SELECT 1 FROM replay_items AS i WHERE i.replay_id = replays.id AND i.result IS NULL)";
    tx.execute(sql, [id.into(), at.as_ms().into()]).await?;
    Ok(Fenced::Done(()))
}

fn replay(row: &QueryResult) -> Result<Replay, DbError> {
    let required = |column: &str| DbError::Defect(format!("{column} of a replay is not known"));
    let merchants: Option<String> = row.try_get("", "merchants")?;
    let merchants = merchants.map(|text| serde_json::from_str::<Vec<MerchantKey>>(&text)).transpose();
    let time = |column: &str| -> Result<Option<Timestamp>, DbError> {
        Ok(row.try_get::<Option<i64>>("", column)?.map(Timestamp::from_ms))
    };
    Ok(Replay {
        id: row.try_get("", "id")?,
        kind: word(row, "kind", ReplayKind::parse)?.ok_or_else(|| required("kind"))?,
        selection: row.try_get("", "selection")?,
        merchants: merchants.map_err(|e| unreadable("merchants", &e))?,
        reason: row.try_get("", "reason")?,
        rate_per_second: u32::try_from(row.try_get::<i64>("", "rate_per_second")?).unwrap_or(1).max(1),
        total: u64::try_from(row.try_get::<i64>("", "total")?).unwrap_or(0),
        state: word(row, "state", ReplayState::parse)?.ok_or_else(|| required("state"))?,
        planned_by: row.try_get("", "planned_by")?,
        started_by: row.try_get("", "started_by")?,
        created_at: time("created_at_ms")?.ok_or_else(|| required("created_at_ms"))?,
        started_at: time("started_at_ms")?,
        ended_at: time("ended_at_ms")?,
    })
}
