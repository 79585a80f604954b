//! `GET /api/wechat/jssdk?url=`: what a page hands to `wx.config`.
//!
//! The address is signed as the browser shows it, up to the fragment: an address that is decoded and encoded again is
//! another one to WeChat. Only our own pages are signed for, and each answer is for one address at one moment.

use axum::extract::Request;
use axum::response::Response;
use serde_json::json;

use super::address;
use super::address::Own;
use crate::config;
use crate::config::AppKind;
use crate::secret::random_text;
use crate::store::TokenKind;
use crate::web::envelope::{Failure, Reason, success};
use crate::web::state::{Browser, WebState};
use crate::wechat::jssdk::{signature, signed_url, string_to_sign};

/// Stands for the ticket in what is explained.
const MASK: &str = "***";

/// What is asked for.
struct Asked<'a> {
    app: &'a config::App,
    page: String,
    explain: bool,
}

pub async fn jssdk(app: WebState, request: Request) -> Result<Response, Failure> {
    let browser = app.browser()?;
    let Asked { app: wechat_app, page, explain } = asked(&app, browser, &request)?;
    let page = page.as_str();
    let now = app.clock.now();
    let ticket = app.store.token(&browser.token_key, wechat_app, TokenKind::JsapiTicket, now).await?;
    let ticket = ticket.ok_or(Reason::TokenUnavailable)?.value;
    let (nonce, timestamp_s) = (random_text(16), now.as_seconds());
    let mut data = json!({
        "appId": wechat_app.app_id,
        "timestamp": timestamp_s,
        "nonceStr": nonce,
        "signature": signature(&ticket, &nonce, timestamp_s, page),
        "jsApiList": app.config.web.js_api_list,
        // What location.href has to be, or WeChat calls the signature invalid.
        "url": signed_url(page),
    });
    if explain {
        data["explain"] = json!({
            "string_to_sign": string_to_sign(MASK, &nonce, timestamp_s, page),
            "digest": "SHA-1, lower-case hex, over string_to_sign with the ticket in the place of ***",
        });
    }
    Ok(success(data))
}

fn asked<'a>(app: &'a WebState, browser: &Browser, request: &Request) -> Result<Asked<'a>, Failure> {
    let is_app = |key: &str| app.config.app(key).is_some();
    let own: [Own<'_>; 2] = [("app", &is_app), ("explain", &|switch| matches!(switch, "0" | "1"))];
    let (parameters, undecoded) = address::parameters(request.uri(), &["url"], &own)?;
    let (wechat_app, _) = app.web_app(AppKind::OfficialAccount, &parameters)?;
    let page = browser.origins.required("url", parameters.required("url")?)?;
    if let Some(name) = undecoded.filter(|_| browser.origins.is_elsewhere(request.headers(), &page)) {
        return Err(address::cut_off(name));
    }
    Ok(Asked { app: wechat_app, page, explain: parameters.switch("explain")? })
}
