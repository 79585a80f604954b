//! `[web]`: the browser side.

use std::time::Duration;

use super::hazards::plain_http;
use super::typed::Web;
use crate::clock::Timestamp;
use crate::config::address;
use crate::config::reader::Reader;
use crate::config::secrets::strong;

pub(in crate::config) fn web(r: &mut Reader<'_>) -> Option<Web> {
    let callback_origins = r.items("callback_origins", address::origin);
    plain_http(r, "callback_origins", callback_origins.as_deref().unwrap_or_default());
    let session_key = r.secret("session_key", "session_key_file", |text| strong(text, 32));
    if callback_origins.as_ref().is_some_and(|origins| !origins.is_empty()) && matches!(session_key, Some(None)) {
        let mend = "is missing: callback_origins opens the browser side, whose cookies need session_key or \
                    session_key_file";
        r.problem("session_key", mend.into());
    }
    let session_key_previous = r.secret("session_key_previous", "session_key_previous_file", |text| strong(text, 32));
    if let (Some(Some(new)), Some(Some(old))) = (&session_key, &session_key_previous)
        && new.expose() == old.expose()
    {
        r.problem("session_key_previous", "is the same as session_key: it is the key before the change".into());
    }
    let sessions_not_before = r.optional("sessions_not_before", |text| {
        Timestamp::parse_rfc3339(text).map_err(|_| "must be a time like 2026-01-02T03:04:05Z".to_owned())
    });
    let wallet_open_max = r.number("wallet_open_max", 1..=1000);
    let mut fen = |key| r.number(key, 1..=crate::money::Fen::ORDER_MAX.as_i64());
    let (wallet_min_fen, wallet_max_fen) = (fen("wallet_min_fen"), fen("wallet_max_fen"));
    if wallet_min_fen.zip(wallet_max_fen).is_some_and(|(min, max)| min > max) {
        r.problem("wallet_min_fen", "must not be greater than wallet_max_fen".into());
    }
    let wallet_description = r.required("wallet_description", |text| {
        if text.len() <= 127 && !text.chars().any(char::is_control) {
            Ok(text.to_owned())
        } else {
            Err("must be at most 127 bytes of UTF-8 without control characters, as WeChat takes them".to_owned())
        }
    });
    let session_hours = r.number("session_hours", 1..=24 * 365);
    let js_api_list = r.items("js_api_list", |text| {
        if !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(text.to_owned())
        } else {
            Err("must be the name of a JS-SDK function, like chooseWXPay".to_owned())
        }
    });
    let status_always_200 = r.flag("status_always_200");
    Some(Web {
        callback_origins: callback_origins?,
        session_key: session_key?,
        session_key_previous: session_key_previous?,
        sessions_not_before: sessions_not_before?,
        wallet_open_max: u32::try_from(wallet_open_max?).unwrap_or(1),
        wallet_min_fen: wallet_min_fen?,
        wallet_max_fen: wallet_max_fen?,
        wallet_description: wallet_description?,
        session_lifetime: Duration::from_secs(u64::try_from(session_hours?).unwrap_or(1) * 3600),
        js_api_list: js_api_list?,
        status_always_200: status_always_200?,
    })
}
