//! Login codes: WeChat gives a user's openid for a code once only, however often the browser brings the code back.
//!
//! The first caller to claim a code exchanges it at WeChat; all others, in any process, receive its outcome. Neither
//! the code nor the state is stored, only their hashes. What must stay true: one claimer per code, one code per state,
//! and a code whose claimer died is never exchanged again, because WeChat may have used it up: the login starts anew.

use std::time::Duration;

use sea_orm::EntityTrait;

use super::Store;
use super::db::DbError;
use super::entity::login_code;
use crate::clock::Timestamp;
use crate::ids::AppKey;

/// How long the outcome of a code is replayed to repeats: the lifetime of a code at WeChat.
pub const LOGIN_CODE_LIFE: Duration = Duration::from_secs(300);

/// What came of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginOutcome {
    /// It was this user's.
    LoggedIn {
        /// Our number of the user.
        user_id: i64,
        /// A virtual account of WeChat's snapshot mode.
        is_snapshot: bool,
    },
    /// The code is or may be used up, or too old: only a new login helps.
    Over,
    /// WeChat would not log this user in, or could not be asked: a new login does not help now.
    Failed,
}

/// What a claim of a code found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimedCode {
    /// The code was unclaimed: the caller exchanges it and records the outcome with [`Store::finish_code`].
    Mine,
    /// Another caller is exchanging it: retry soon.
    Busy,
    /// It was exchanged.
    Done(LoginOutcome),
    /// The code came under another state or app before, or the state with another code: not the browser that asked for
    /// it.
    Foreign,
}

impl Store {
    /// Claims a code for exchange. A claimer that has not finished within the timeout counts as crashed.
    pub async fn claim_code(
        &self,
        code_hash: &str,
        app: &AppKey,
        state_hash: &str,
        now: Timestamp,
        timeout: Duration,
    ) -> Result<ClaimedCode, DbError> {
        let sql = "INSERT INTO login_codes (code_hash, app, state_hash, claimed_at_ms, is_snapshot)
                   VALUES ($1, $2, $3, $4, FALSE) ON CONFLICT DO NOTHING";
        let values = [code_hash.into(), app.as_str().into(), state_hash.into(), now.as_ms().into()];
        if self.db.execute("login.claim", sql, values).await? == 1 {
            return Ok(ClaimedCode::Mine);
        }
        // What was just now in the way is committed, or this insertion would have waited for it.
        let Some(row) = login_code::Entity::find_by_id(code_hash).one(self.db.read()).await? else {
            return Ok(ClaimedCode::Foreign);
        };
        if row.app != app.as_str() || row.state_hash != state_hash {
            return Ok(ClaimedCode::Foreign);
        }
        let claimed_at = Timestamp::from_ms(row.claimed_at_ms);
        if now.since(claimed_at) > LOGIN_CODE_LIFE {
            return Ok(ClaimedCode::Done(LoginOutcome::Over));
        }
        match outcome(&row)? {
            Some(outcome) => Ok(ClaimedCode::Done(self.repeated(outcome, row.finished_at_ms).await?)),
            None if now.since(claimed_at) < timeout => Ok(ClaimedCode::Busy),
            None => Ok(ClaimedCode::Done(self.finish_code(code_hash, LoginOutcome::Over, now).await?)),
        }
    }

    /// What a repeat receives of an outcome: a login whose user's sessions were ended since is over. The cookie of it
    /// may have been copied before.
    async fn repeated(&self, outcome: LoginOutcome, finished_at_ms: Option<i64>) -> Result<LoginOutcome, DbError> {
        let LoginOutcome::LoggedIn { user_id, .. } = outcome else { return Ok(outcome) };
        let Some(user) = self.user_by_id(user_id).await? else { return Ok(outcome) };
        let ended_at = self.sessions_ended_at(&user.app, &user.openid).await?;
        let is_ended = ended_at.zip(finished_at_ms).is_some_and(|(ended_at, finished)| ended_at.as_ms() >= finished);
        Ok(if is_ended { LoginOutcome::Over } else { outcome })
    }

    /// Records the outcome of a claimed code, unless one is recorded already (its claimer was presumed crashed).
    /// Returns the outcome that stands, which every repeat receives.
    pub async fn finish_code(
        &self,
        code_hash: &str,
        result: LoginOutcome,
        now: Timestamp,
    ) -> Result<LoginOutcome, DbError> {
        let (word, user_id, is_snapshot) = match result {
            LoginOutcome::LoggedIn { user_id, is_snapshot } => ("logged_in", Some(user_id), is_snapshot),
            LoginOutcome::Over => ("over", None, false),
            LoginOutcome::Failed => ("failed", None, false),
        };
        let sql = "UPDATE login_codes SET outcome = $2, user_id = $3, is_snapshot = $4, finished_at_ms = $5
                   WHERE code_hash = $1 AND outcome IS NULL";
        let values = [code_hash.into(), word.into(), user_id.into(), is_snapshot.into(), now.as_ms().into()];
        if self.db.execute("login.finish", sql, values).await? == 1 {
            // Concurrent requests with the same code wait for this.
            self.changed();
            return Ok(result);
        }
        let row = login_code::Entity::find_by_id(code_hash).one(self.db.read()).await?;
        let stands = row.as_ref().map(outcome).transpose()?.flatten();
        Ok(stands.unwrap_or(LoginOutcome::Over))
    }

    /// Forgets codes claimed before `before`; at most `limit`, answers how many. Not before a state is out of use: the
    /// row is what makes a state single-use.
    pub async fn purge_login_codes(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM login_codes WHERE code_hash IN (
                     SELECT code_hash FROM login_codes WHERE claimed_at_ms < $1 LIMIT $2)";
        self.purge(sql, before, limit).await
    }
}

fn outcome(row: &login_code::Model) -> Result<Option<LoginOutcome>, DbError> {
    let Some(word) = row.outcome.as_deref() else { return Ok(None) };
    Ok(Some(match (word, row.user_id) {
        ("logged_in", Some(user_id)) => LoginOutcome::LoggedIn { user_id, is_snapshot: row.is_snapshot },
        ("over", None) => LoginOutcome::Over,
        ("failed", None) => LoginOutcome::Failed,
        _ => return Err(DbError::Defect(format!("column outcome holds {word:?}"))),
    }))
}
