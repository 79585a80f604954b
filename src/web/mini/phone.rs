//! `POST /api/wechat/mini/phone`: the code of the phone-number button for the number.
//!
//! The call goes out with the app's shared access_token. When WeChat calls that dead, it is reported by its hash, so
//! that many requests lead to one refresh; the scheduler fetches, and this waits a moment for its result. The call is
//! then repeated once, also where WeChat issued the very same token again: its second answer decides.

use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use serde_json::json;
use tokio::time::Instant;

use super::login::{code, refusal};
use crate::config;
use crate::config::AppKind;
use crate::store::{StoredToken, TokenKind, TokenReport};
use crate::web::envelope::{Failure, Reason, success};
use crate::web::state::Browser;
use crate::web::state::WebState;
use crate::wechat::mini_program::phone_number;
use crate::wechat::platform::Class;

/// How long a request waits for the successor of a dead token.
const TOKEN_WAIT: Duration = Duration::from_secs(3);
/// The longest poll interval: another process may write it.
const ROUND: Duration = Duration::from_millis(100);

pub async fn phone(app: WebState, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let browser = app.browser()?;
    let session = app.required_session(&parts.headers).await?;
    let wechat_app = app.config.app(session.app.as_str()).filter(|app| app.kind == AppKind::MiniProgram);
    let wechat_app = wechat_app.ok_or(Reason::NotOpen)?;
    let code = code(&app, &parts.headers, body).await?;
    browser.phone_numbers.take(&(session.app, session.openid)).map_err(Failure::too_many)?;
    let first = current(&app, browser, wechat_app).await?.ok_or(Reason::TokenUnavailable)?;
    let call = async |token: &StoredToken| {
        phone_number(&browser.platform, &token.value, &wechat_app.app_id, code.expose()).await
    };
    let phone = match call(&first).await {
        Err(e) if e.class() == Some(Class::TokenDead) => {
            let now = app.clock.now();
            app.store.report_dead_token(&wechat_app.key, TokenKind::AccessToken, &first.hash, now).await?;
            let second = successor(&app, browser, wechat_app, &first).await?;
            call(&second).await
        }
        answered => answered,
    };
    let phone = phone.map_err(|e| refusal(&e))?;
    Ok(success(json!({
        "phoneNumber": phone.phone_number,
        "purePhoneNumber": phone.pure_phone_number,
        "countryCode": phone.country_code,
    })))
}

async fn current(app: &WebState, browser: &Browser, of: &config::App) -> Result<Option<StoredToken>, Failure> {
    Ok(app.store.token(&browser.token_key, of, TokenKind::AccessToken, app.clock.now()).await?)
}

/// What WeChat issued once the token was reported: another one, or the same again.
async fn successor(
    app: &WebState,
    browser: &Browser,
    of: &config::App,
    dead: &StoredToken,
) -> Result<StoredToken, Failure> {
    let deadline = Instant::now() + TOKEN_WAIT;
    let mut commits = app.store.commits();
    loop {
        commits.mark_unchanged();
        let state = app.store.token_state(&browser.token_key, of, TokenKind::AccessToken).await?;
        let is_repeated = state.report == Some(TokenReport::Answered);
        if let Some(token) = state.usable(app.clock.now()).filter(|token| is_repeated || token.hash != dead.hash) {
            return Ok(token.clone());
        }
        if Instant::now() >= deadline {
            return Err(Reason::TokenUnavailable.into());
        }
        let _ = tokio::time::timeout(ROUND, commits.changed()).await;
    }
}
