//! What users say about themselves, made fit to be kept and shown.
//!
//! A nickname is any text that a user chose: control characters (PostgreSQL takes no NUL), or pages of it. What is
//! kept is short and plain; what cannot be made so is left out. A login never depends on any of it.

use crate::clock::Timestamp;
use crate::store::{DbError, NewUser, Store};

/// WeChat lets people choose 32 characters; some are made of several.
const NICKNAME_MAX_CHARS: usize = 64;
/// Longer than any address of WeChat's pictures.
const AVATAR_MAX_BYTES: usize = 1024;
/// Longer than any unionid.
const UNIONID_MAX_BYTES: usize = 128;

/// The user with what may be kept of their profile.
pub fn fit(user: NewUser) -> NewUser {
    let nickname = user.nickname.as_deref().map(plain).filter(|name| !name.is_empty());
    let avatar_url = user.avatar_url.filter(|url| is_visible(url, AVATAR_MAX_BYTES));
    let unionid = user.unionid.filter(|id| is_visible(id, UNIONID_MAX_BYTES));
    NewUser { nickname, avatar_url, unionid, ..user }
}

/// Saves a user; bare, where the database does not take the profile. Answers our number of them.
pub async fn save(store: &Store, user: NewUser, now: Timestamp) -> Result<i64, DbError> {
    let user = fit(user);
    match store.save_user(&user, now).await {
        Err(e) if user.nickname.is_some() || user.avatar_url.is_some() || user.unionid.is_some() => {
            tracing::warn!(app = %user.app, error = %e, "A user is saved without their profile");
            store.save_user(&NewUser { nickname: None, avatar_url: None, unionid: None, ..user }, now).await
        }
        saved => saved,
    }
}

/// At most so many characters, none of them a control character or one that could not be read.
fn plain(text: &str) -> String {
    let is_shown = |c: &char| !c.is_control() && *c != char::REPLACEMENT_CHARACTER;
    let kept: String = text.chars().filter(is_shown).take(NICKNAME_MAX_CHARS).collect();
    kept.trim().to_owned()
}

fn is_visible(text: &str, max_bytes: usize) -> bool {
    (1..=max_bytes).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}
