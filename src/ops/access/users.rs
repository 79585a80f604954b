//! The console's users and sessions.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::Config;
use crate::ops::operator::Operator;
use crate::secret::{random_text, sha256_hex};
use crate::store::{Access, AuditEntry, ConsoleLogin, DbError, NewInvitation, NewSession, Right, Store, UserChange};

/// How long an invitation is good.
pub const INVITATION_LIFE: Duration = Duration::from_secs(15 * 60);
/// Users and sessions of one list.
pub const LIMIT: u64 = 500;

/// A user's name, if a text is one: up to 64 letters, digits and `.`, `_`, `-`, `@`.
pub fn parse_name(text: &str) -> Option<&str> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(is_name)).then_some(text)
}

/// The address that an invitation is used at.
pub fn invitation_link(config: &Config, token: &str) -> String {
    format!("{}{}", config.console.url(&config.server), invitation_path(token))
}

/// The path of it.
pub fn invitation_path(token: &str) -> String {
    format!("/console/invitation/{token}")
}

/// What an operator of the machine may do: all of it.
pub fn local_operator() -> Operator {
    let local = || "local".to_owned();
    Operator { name: "wxpayd".to_owned(), id: local(), key: local(), remote_addr: local(), merchants: None }
}

/// An invitation that was written: the token is shown once.
#[derive(Debug, Clone)]
pub struct Invited {
    pub change: UserChange,
    pub token: String,
    pub expires_at: Timestamp,
}

/// Invites a user, or one that exists to set another password, and answers the token of the invitation. `within` is
/// what the operator itself may do; none for an operator of the machine.
pub async fn invite(
    store: &Store,
    operator: &Operator,
    within: Option<&Access>,
    (name, access): (&str, Access),
    now: Timestamp,
) -> Result<Invited, DbError> {
    let token = random_text(43);
    let expires_at = now.after(INVITATION_LIFE);
    if within.is_some_and(|within| !within.contains(&access)) {
        return Ok(Invited { change: UserChange::Beyond, token: String::new(), expires_at });
    }
    let audit = audit(operator, "console.invite", name, &described(&access), now);
    let token_hash = sha256_hex(token.as_bytes());
    let new = NewInvitation { name: name.to_owned(), access, token_hash, now, expires_at };
    let change = store.invite(&new, within, &audit).await?;
    Ok(Invited { change, token, expires_at })
}

/// Gives a user other access, or removes it where there is none.
pub async fn change(
    store: &Store,
    operator: &Operator,
    within: &Access,
    (id, access): (i64, Option<&Access>),
    now: Timestamp,
) -> Result<UserChange, DbError> {
    let Some(user) = store.console_user(id).await? else { return Ok(UserChange::None) };
    let entry = match access {
        Some(access) => audit(operator, "console.change_user", &user.name, &described(access), now),
        None => audit(operator, "console.remove_user", &user.name, "", now),
    };
    store.change_user(id, access, within, &entry).await
}

/// Sets the password of an invitation; answers whether it was good.
pub async fn use_invitation(
    store: &Store,
    token_hash: &str,
    password: &str,
    (name, remote_addr): (&str, &str),
    now: Timestamp,
) -> Result<bool, DbError> {
    let operator = user_at(name, None, remote_addr);
    let audit = audit(&operator, "console.set_password", name, "invitation", now);
    Ok(store.use_invitation(token_hash, password, &audit).await?.is_some())
}

/// Replaces the password that was compared; ends all sessions of the user.
pub async fn change_password(
    store: &Store,
    login: &ConsoleLogin,
    password: &str,
    remote_addr: &str,
    now: Timestamp,
) -> Result<bool, DbError> {
    let operator = user_at(&login.name, Some(login.user_id), remote_addr);
    let audit = audit(&operator, "console.set_password", &login.name, "changed", now);
    store.change_password(login, password, &audit).await
}

/// Records that a session did not know the password it wanted to replace.
pub async fn password_refused(store: &Store, operator: &Operator, now: Timestamp) -> Result<(), DbError> {
    let mut entry = audit(operator, "console.set_password", &operator.name, "the current password is wrong", now);
    entry.result = "refused".to_owned();
    store.record_audit(&entry).await
}

/// Opens a session of a user whose password was compared; answers its token.
pub async fn log_in(
    store: &Store,
    login: &ConsoleLogin,
    (remote_addr, user_agent): (&str, &str),
    life: Duration,
    now: Timestamp,
) -> Result<Option<String>, DbError> {
    let token = random_text(43);
    let session = NewSession {
        token_hash: sha256_hex(token.as_bytes()),
        user_id: login.user_id,
        password_at: login.password_at,
        now,
        expires_at: now.after(life),
        remote_addr: remote_addr.to_owned(),
        user_agent: user_agent.chars().take(200).collect(),
    };
    let operator = user_at(&login.name, Some(login.user_id), remote_addr);
    let audit = audit(&operator, "console.login", &login.name, "", now);
    Ok(store.open_session(&session, &audit).await?.then_some(token))
}

/// Records a login that failed, as one of so many since the last that was recorded.
pub async fn login_failed(
    store: &Store,
    remote_addr: &str,
    (why, count): (&str, u64),
    now: Timestamp,
) -> Result<(), DbError> {
    // The name stays out: people enter passwords there.
    let operator = user_at("", None, remote_addr);
    let mut entry = audit(&operator, "console.login", "", &format!("{why}, {count} since the row before"), now);
    (entry.result, entry.subject, entry.actor_id) = ("refused".to_owned(), None, None);
    store.record_audit(&entry).await
}

/// Ends a session: the user's own, or any for one who may manage users within what it may see.
pub async fn end_session(
    store: &Store,
    operator: &Operator,
    (user, within): (i64, &Access),
    id: i64,
    now: Timestamp,
) -> Result<bool, DbError> {
    let Some(session) = store.console_session_numbered(id, now).await? else { return Ok(false) };
    let is_own = session.user_id == user;
    let may = is_own || within.has(Right::Admin) && within.contains(&session.access);
    if !may {
        return Ok(false);
    }
    let audit = audit(operator, "console.end_session", &session.user_name, if is_own { "own" } else { "" }, now);
    store.end_session(id, Some(session.user_id), &audit).await
}

fn user_at(name: &str, id: Option<i64>, remote_addr: &str) -> Operator {
    let id = id.map(|id| format!("user:{id}")).unwrap_or_default();
    Operator { name: name.to_owned(), key: id.clone(), id, remote_addr: remote_addr.to_owned(), merchants: None }
}

/// `operator, with replay; merchants main`
fn described(access: &Access) -> String {
    let grants: Vec<&str> = access.grants.iter().map(|right| right.as_str()).collect();
    let with = if grants.is_empty() { String::new() } else { format!(" with {}", grants.join(", ")) };
    let merchants = access.merchants.as_ref().map(|merchants| {
        let names: Vec<&str> = merchants.iter().map(|merchant| merchant.as_str()).collect();
        format!(" of {}", names.join(", "))
    });
    format!("{}{with}{}", access.role.as_str(), merchants.unwrap_or_default())
}

fn audit(operator: &Operator, action: &'static str, user: &str, reason: &str, now: Timestamp) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: operator.name.clone(),
        actor_id: Some(operator.id.clone()).filter(|id| !id.is_empty()),
        remote_addr: operator.remote_addr.clone(),
        action,
        merchant: None,
        order_no: None,
        transaction_id: None,
        subject: Some(format!("user:{user}")),
        reason: reason.to_owned(),
        result: "done".to_owned(),
    }
}
