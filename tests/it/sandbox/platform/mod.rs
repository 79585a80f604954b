//! The platform that the simulator plays: logins, tokens, the page bridge, mini programs.

mod bridge;
mod login;
mod mini;
mod tokens;

use serde_json::Value;

use super::parts::{MINI_APPID, MINI_SECRET, Shop};

fn mini_query(code: &str) -> [(&'static str, &str); 4] {
    [("appid", MINI_APPID), ("secret", MINI_SECRET), ("js_code", code), ("grant_type", "authorization_code")]
}

/// What WeChat answers to a mini program's code.
pub async fn session(shop: &Shop, code: &str) -> Value {
    shop.ask("/sns/jscode2session", &mini_query(code)).await
}
