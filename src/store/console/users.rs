//! Users of the console: invited, given a password by their invitation, changed and removed.

use sea_orm::{ConnectionTrait, QueryResult};

use super::types::{Access, ConsoleUser, Right, Role, UserChange};
use crate::clock::Timestamp;
use crate::ids::MerchantKey;
use crate::store::Store;
use crate::store::db::{DbError, DbKind};
use crate::store::payment::audit::{AuditEntry, write_audit};
use crate::store::writer::WriteTx;

/// An invitation to write: a new user, or another password for one that exists.
#[derive(Debug, Clone)]
pub struct NewInvitation {
    pub name: String,
    /// What a new user may do; one that exists keeps what it may.
    pub access: Access,
    pub token_hash: String,
    pub now: Timestamp,
    pub expires_at: Timestamp,
}

/// What a login compares.
#[derive(Debug, Clone)]
pub struct ConsoleLogin {
    pub user_id: i64,
    pub name: String,
    /// The password's hash, in its stored form.
    pub password: String,
    pub password_at: Timestamp,
}

const COLUMNS: &str = "u.id, u.name, u.role, u.grants, u.merchants, u.password_at_ms, u.created_at_ms, u.created_by,
                       i.expires_at_ms";
const FROM: &str = "FROM console_users u LEFT JOIN console_invitations i ON i.user_id = u.id";

impl Store {
    /// Writes an invitation with its audit row, and the user where there is none of this name. An older invitation of
    /// the user ends. `within`, where given, must contain what an existing user may do.
    pub async fn invite(
        &self,
        new: &NewInvitation,
        within: Option<&Access>,
        audit: &AuditEntry,
    ) -> Result<UserChange, DbError> {
        let data = (new.clone(), within.cloned(), audit.clone());
        let write = self.db.write("console.invite", data, |tx, (new, within, audit)| {
            Box::pin(invite(tx, new, within.as_ref(), audit))
        });
        write.await
    }

    /// The user of an invitation that is good at `now`.
    pub async fn invited(&self, token_hash: &str, now: Timestamp) -> Result<Option<ConsoleUser>, DbError> {
        let sql = format!("SELECT {COLUMNS} {FROM} WHERE i.token_hash = $1 AND i.expires_at_ms > $2");
        let values = [token_hash.into(), now.as_ms().into()];
        let row = self.db.read().query_one_raw(self.db.statement(sql, values)).await?;
        row.as_ref().map(user_row).transpose()
    }

    /// Uses an invitation: sets the password, ends the user's sessions, and answers the user. None where the invitation
    /// was used, replaced or is over.
    pub async fn use_invitation(
        &self,
        token_hash: &str,
        password: &str,
        audit: &AuditEntry,
    ) -> Result<Option<i64>, DbError> {
        let data = (token_hash.to_owned(), password.to_owned(), audit.clone());
        let write = self.db.write("console.password", data, |tx, (hash, password, audit)| {
            Box::pin(use_invitation(tx, hash, password, audit))
        });
        write.await
    }

    /// Replaces a password that was compared, and ends the user's sessions; false where it is another one by now.
    pub async fn change_password(
        &self,
        login: &ConsoleLogin,
        password: &str,
        audit: &AuditEntry,
    ) -> Result<bool, DbError> {
        let data = (login.clone(), password.to_owned(), audit.clone());
        let write = self.db.write("console.password", data, |tx, (login, password, audit)| {
            Box::pin(change_password(tx, login, password, audit))
        });
        write.await
    }

    /// What a login of this name compares; none without a user or a password.
    pub async fn console_login(&self, name: &str) -> Result<Option<ConsoleLogin>, DbError> {
        let sql = "SELECT id, name, password, password_at_ms FROM console_users
                   WHERE name = $1 AND password IS NOT NULL";
        let row = self.db.read().query_one_raw(self.db.statement(sql, [name.into()])).await?;
        let login = |row: &QueryResult| {
            Ok::<_, DbError>(ConsoleLogin {
                user_id: row.try_get("", "id")?,
                name: row.try_get("", "name")?,
                password: row.try_get("", "password")?,
                password_at: Timestamp::from_ms(row.try_get("", "password_at_ms")?),
            })
        };
        row.as_ref().map(login).transpose()
    }

    /// Users by name.
    pub async fn console_users(&self, limit: u64) -> Result<Vec<ConsoleUser>, DbError> {
        let sql = format!("SELECT {COLUMNS} {FROM} ORDER BY u.name LIMIT {limit}");
        let rows = self.db.read().query_all_raw(self.db.statement(sql, [])).await?;
        rows.iter().map(user_row).collect()
    }

    /// One user.
    pub async fn console_user(&self, id: i64) -> Result<Option<ConsoleUser>, DbError> {
        let sql = format!("SELECT {COLUMNS} {FROM} WHERE u.id = $1");
        let row = self.db.read().query_one_raw(self.db.statement(sql, [id.into()])).await?;
        row.as_ref().map(user_row).transpose()
    }

    /// Gives a user other access, which ends its invitation, or removes it with its sessions where there is none. What
    /// it had must be within `within`.
    pub async fn change_user(
        &self,
        id: i64,
        access: Option<&Access>,
        within: &Access,
        audit: &AuditEntry,
    ) -> Result<UserChange, DbError> {
        let data = (id, access.cloned(), within.clone(), audit.clone());
        let write = self.db.write("console.user", data, |tx, (id, access, within, audit)| {
            Box::pin(change(tx, *id, access.as_ref(), within, audit))
        });
        write.await
    }

    /// Forgets invitations that were not used; at most `limit`, answers how many.
    pub async fn purge_console_invitations(&self, before: Timestamp, limit: u64) -> Result<u64, DbError> {
        let sql = "DELETE FROM console_invitations WHERE user_id IN (
                     SELECT user_id FROM console_invitations WHERE expires_at_ms < $1 LIMIT $2)";
        self.purge(sql, before, limit).await
    }
}

async fn invite(
    tx: &WriteTx,
    new: &NewInvitation,
    within: Option<&Access>,
    audit: &AuditEntry,
) -> Result<UserChange, DbError> {
    let Access { role, grants, merchants } = &new.access;
    // Answers the row and locks it, whether or not it was there.
    let sql = "INSERT INTO console_users (name, role, grants, merchants, created_at_ms, created_by)
               VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (name) DO UPDATE SET name = excluded.name
               RETURNING id, role, grants, merchants";
    let values = [
        new.name.as_str().into(),
        role.as_str().into(),
        grants_text(grants).into(),
        merchants.as_deref().map(merchants_text).into(),
        new.now.as_ms().into(),
        audit.actor.as_str().into(),
    ];
    let row = tx.one(sql, values).await?.ok_or_else(|| DbError::Defect("an invited user has no row".into()))?;
    let had = access(row.get("role")?, row.get("grants")?, row.get("merchants")?)?;
    if within.is_some_and(|within| !within.contains(&had)) {
        return Ok(UserChange::Beyond);
    }
    let sql = "INSERT INTO console_invitations (user_id, token_hash, created_at_ms, expires_at_ms)
               VALUES ($1, $2, $3, $4)
               ON CONFLICT (user_id) DO UPDATE SET token_hash = excluded.token_hash,
                 created_at_ms = excluded.created_at_ms, expires_at_ms = excluded.expires_at_ms";
    let values = [
        row.get::<i64>("id")?.into(),
        new.token_hash.as_str().into(),
        new.now.as_ms().into(),
        new.expires_at.as_ms().into(),
    ];
    tx.execute(sql, values).await?;
    write_audit(tx, audit).await?;
    Ok(UserChange::Done)
}

async fn use_invitation(tx: &WriteTx, hash: &str, password: &str, audit: &AuditEntry) -> Result<Option<i64>, DbError> {
    let sql = "DELETE FROM console_invitations WHERE token_hash = $1 AND expires_at_ms > $2 RETURNING user_id";
    let Some(row) = tx.one(sql, [hash.into(), audit.at.as_ms().into()]).await? else { return Ok(None) };
    let user: i64 = row.get("user_id")?;
    let sql = "UPDATE console_users SET password = $2, password_at_ms = $3 WHERE id = $1";
    if tx.execute(sql, [user.into(), password.into(), audit.at.as_ms().into()]).await? == 0 {
        return Ok(None);
    }
    tx.execute("DELETE FROM console_sessions WHERE user_id = $1", [user.into()]).await?;
    write_audit(tx, audit).await?;
    Ok(Some(user))
}

async fn change_password(
    tx: &WriteTx,
    login: &ConsoleLogin,
    password: &str,
    audit: &AuditEntry,
) -> Result<bool, DbError> {
    let sql = "UPDATE console_users SET password = $3, password_at_ms = $4 WHERE id = $1 AND password = $2";
    let values = [login.user_id.into(), login.password.as_str().into(), password.into(), audit.at.as_ms().into()];
    if tx.execute(sql, values).await? == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM console_sessions WHERE user_id = $1", [login.user_id.into()]).await?;
    tx.execute("DELETE FROM console_invitations WHERE user_id = $1", [login.user_id.into()]).await?;
    write_audit(tx, audit).await?;
    Ok(true)
}

async fn change(
    tx: &WriteTx,
    id: i64,
    to: Option<&Access>,
    within: &Access,
    audit: &AuditEntry,
) -> Result<UserChange, DbError> {
    // Locked in one order: two administrators who remove each other must not both succeed.
    let lock = if tx.kind() == DbKind::Postgres { " FOR UPDATE" } else { "" };
    let sql = format!(
        "SELECT id, role, grants, merchants, password_at_ms FROM console_users
         WHERE id = $1 OR role = 'admin' ORDER BY id{lock}"
    );
    let rows = tx.all(&sql, [id.into()]).await?;
    let mut had = None;
    let mut admins = Vec::new();
    for row in &rows {
        let (user, access) =
            (row.get::<i64>("id")?, access(row.get("role")?, row.get("grants")?, row.get("merchants")?)?);
        let is_active = row.get::<Option<i64>>("password_at_ms")?.is_some();
        if is_active && is_full_admin(&access) {
            admins.push(user);
        }
        if user == id {
            had = Some(access);
        }
    }
    let Some(had) = had else { return Ok(UserChange::None) };
    if !within.contains(&had) || to.is_some_and(|to| !within.contains(to)) {
        return Ok(UserChange::Beyond);
    }
    if admins == [id] && !to.is_some_and(is_full_admin) {
        return Ok(UserChange::LastAdmin);
    }
    match to {
        Some(Access { role, grants, merchants }) => {
            let sql = "UPDATE console_users SET role = $2, grants = $3, merchants = $4 WHERE id = $1";
            let merchants = merchants.as_deref().map(merchants_text);
            tx.execute(sql, [id.into(), role.as_str().into(), grants_text(grants).into(), merchants.into()]).await?;
            // It may be of one who could not have made it for a user with this access.
            tx.execute("DELETE FROM console_invitations WHERE user_id = $1", [id.into()]).await?;
        }
        None => {
            for table in
                ["console_sessions WHERE user_id", "console_invitations WHERE user_id", "console_users WHERE id"]
            {
                tx.execute(&format!("DELETE FROM {table} = $1"), [id.into()]).await?;
            }
        }
    }
    write_audit(tx, audit).await?;
    Ok(UserChange::Done)
}

/// Who can undo whatever another administrator does.
fn is_full_admin(access: &Access) -> bool {
    access.role == Role::Admin && access.merchants.is_none()
}

fn grants_text(grants: &[Right]) -> String {
    grants.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(" ")
}

fn merchants_text(merchants: &[MerchantKey]) -> String {
    merchants.iter().map(MerchantKey::as_str).collect::<Vec<_>>().join(" ")
}

pub(super) fn access(role: String, grants: String, merchants: Option<String>) -> Result<Access, DbError> {
    let merchant = |text: &str| MerchantKey::parse(text).map_err(|e| DbError::Defect(format!("column merchants: {e}")));
    Ok(Access {
        role: Role::parse(&role).ok_or_else(|| DbError::Defect(format!("column role holds {role:?}")))?,
        // A right of a later version is none here.
        grants: grants.split_whitespace().filter_map(Right::parse).collect(),
        merchants: merchants.map(|text| text.split_whitespace().map(merchant).collect()).transpose()?,
    })
}

fn user_row(row: &QueryResult) -> Result<ConsoleUser, DbError> {
    let time = |column: &str| row.try_get::<Option<i64>>("", column).map(|at| at.map(Timestamp::from_ms));
    Ok(ConsoleUser {
        id: row.try_get("", "id")?,
        name: row.try_get("", "name")?,
        access: access(row.try_get("", "role")?, row.try_get("", "grants")?, row.try_get("", "merchants")?)?,
        created_at: Timestamp::from_ms(row.try_get("", "created_at_ms")?),
        created_by: row.try_get("", "created_by")?,
        password_at: time("password_at_ms")?,
        invited_until: time("expires_at_ms")?,
    })
}
