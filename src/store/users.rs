//! Who logged in. A user is an openid under one app; everything else about them is optional and may come later.
//!
//! It is no account of the business: nothing here grants anything. What must stay true: an openid has one row per app,
//! under any concurrency, and a login that brings less (a silent one) never wipes what a fuller one brought.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::Store;
use super::db::DbError;
use super::entity::user;
use super::payment::audit::{AuditEntry, write_audit};
use super::writer::WriteTx;
use crate::clock::Timestamp;
use crate::ids::{AppKey, OpenId};

/// What a login revealed about a user. [`std::fmt::Debug`] shows no personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    pub app: AppKey,
    /// Who, under that app.
    pub openid: OpenId,
    /// Who, across the apps of one open-platform account.
    pub unionid: Option<String>,
    pub nickname: Option<String>,
    pub avatar_url: Option<String>,
    /// A virtual account of WeChat's snapshot mode, which cannot pay.
    pub is_snapshot: bool,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let NewUser { app, is_snapshot, .. } = self;
        f.debug_struct("NewUser").field("app", app).field("is_snapshot", is_snapshot).finish_non_exhaustive()
    }
}

/// A stored user. [`std::fmt::Debug`] shows nothing that names a person.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Our number.
    pub id: i64,
    pub app: AppKey,
    /// Who, under that app.
    pub openid: OpenId,
    /// Who, across the apps of one open-platform account.
    pub unionid: Option<String>,
    pub nickname: Option<String>,
    pub avatar_url: Option<String>,
    /// A virtual account of WeChat's snapshot mode, as of the last login.
    pub is_snapshot: bool,
    /// The first login.
    pub created_at: Timestamp,
    /// The last login.
    pub updated_at: Timestamp,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("id", &self.id).field("app", &self.app).finish_non_exhaustive()
    }
}

impl Store {
    /// Ends the payer's sessions that began until `at`.
    pub async fn end_sessions(&self, app: &AppKey, openid: &OpenId, at: Timestamp) -> Result<(), DbError> {
        let values = [app.as_str().into(), openid.as_str().into(), at.as_ms().into()];
        self.db.execute("session.end", END_SESSIONS, values).await?;
        Ok(())
    }

    /// Ends the payer's sessions that began until an operator asked, and records who did.
    pub async fn end_sessions_audited(&self, app: &AppKey, openid: &OpenId, audit: &AuditEntry) -> Result<(), DbError> {
        let write = (app.clone(), openid.clone(), audit.clone());
        self.db.write("session.revoke", write, |tx, (app, openid, audit)| Box::pin(end(tx, app, openid, audit))).await
    }

    /// Forgets that sessions were ended before `before`, which must be longer ago than a session lasts; at most
    /// `limit`, answers how many.
    pub async fn purge_ended_sessions(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM ended_sessions WHERE (app, openid) IN (
                     SELECT app, openid FROM ended_sessions WHERE ended_at_ms < $1 LIMIT $2)";
        self.purge(sql, before, limit).await
    }

    /// Until when the payer's sessions were ended. After an erasure, that is under the payer's name.
    pub async fn sessions_ended_at(&self, app: &AppKey, openid: &OpenId) -> Result<Option<Timestamp>, DbError> {
        let kind = self.db.kind();
        let mut names = self.payers().await?.names(openid.as_str());
        names.push(openid.as_str().to_owned());
        let among = kind.among_texts("openid", 2);
        let sql = format!("SELECT MAX(ended_at_ms) AS ended_at_ms FROM ended_sessions WHERE app = $1 AND {among}");
        let values = [app.as_str().into(), kind.texts(names.iter().map(String::as_str))];
        let rows = self.db.reader().rows(&sql, values).await?;
        let ended_at = rows.first().map(|row| row.get::<Option<i64>>("ended_at_ms")).transpose()?.flatten();
        Ok(ended_at.map(Timestamp::from_ms))
    }

    /// Saves a login's user and answers our number of it. Profile fields are overwritten by a value, never by nothing;
    /// the snapshot flag is always the last login's.
    pub async fn save_user(&self, new: &NewUser, now: Timestamp) -> Result<i64, DbError> {
        let sql =
            "INSERT INTO users (app, openid, unionid, nickname, avatar_url, is_snapshot, created_at_ms, updated_at_ms)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
                   ON CONFLICT (app, openid) DO UPDATE SET
                     unionid = COALESCE(excluded.unionid, users.unionid),
                     nickname = COALESCE(excluded.nickname, users.nickname),
                     avatar_url = COALESCE(excluded.avatar_url, users.avatar_url),
                     is_snapshot = excluded.is_snapshot, updated_at_ms = excluded.updated_at_ms
                   RETURNING id";
        let values = [
            new.app.as_str().into(),
            new.openid.as_str().into(),
            new.unionid.clone().into(),
            new.nickname.clone().into(),
            new.avatar_url.clone().into(),
            new.is_snapshot.into(),
            now.as_ms().into(),
        ];
        let row = self.db.execute_returning("user.save", sql, values).await?;
        let row = row.ok_or_else(|| DbError::Defect("a saved user has no number".into()))?;
        row.get("id")
    }

    /// The user with this openid.
    pub async fn user(&self, app: &AppKey, openid: &OpenId) -> Result<Option<User>, DbError> {
        let found = user::Entity::find()
            .filter(user::Column::App.eq(app.as_str()))
            .filter(user::Column::Openid.eq(openid.as_str()))
            .one(self.db.read())
            .await?;
        found.map(parsed).transpose()
    }

    /// The user with our number.
    pub async fn user_by_id(&self, id: i64) -> Result<Option<User>, DbError> {
        user::Entity::find_by_id(id).one(self.db.read()).await?.map(parsed).transpose()
    }
}

pub(super) const END_SESSIONS: &str = "INSERT INTO ended_sessions (app, openid, ended_at_ms) VALUES ($1, $2, $3)
    ON CONFLICT (app, openid) DO UPDATE SET ended_at_ms = excluded.ended_at_ms
      WHERE ended_sessions.ended_at_ms < excluded.ended_at_ms";

async fn end(tx: &WriteTx, app: &AppKey, openid: &OpenId, audit: &AuditEntry) -> Result<(), DbError> {
    let values = [app.as_str().into(), openid.as_str().into(), audit.at.as_ms().into()];
    tx.execute(END_SESSIONS, values).await?;
    write_audit(tx, audit).await
}

fn parsed(row: user::Model) -> Result<User, DbError> {
    let broken = |e: crate::ids::IdError| DbError::Defect(format!("users: {e}"));
    Ok(User {
        id: row.id,
        app: AppKey::parse(row.app).map_err(broken)?,
        openid: OpenId::parse(row.openid).map_err(broken)?,
        unionid: row.unionid,
        nickname: row.nickname,
        avatar_url: row.avatar_url,
        is_snapshot: row.is_snapshot,
        created_at: Timestamp::from_ms(row.created_at_ms),
        updated_at: Timestamp::from_ms(row.updated_at_ms),
    })
}
