//! Answers: JSON with HTTP 200, whether the call was good or not.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde_json::{Value, json};

use super::api::Api;
use crate::secret::random_text;

/// `errcode` and `errmsg`, without the request's own number that WeChat appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct Refusal {
    pub errcode: i64,
    pub errmsg: String,
}

pub(in crate::sandbox) type Reply = Result<Value, Refusal>;

/// A refusal in WeChat's words.
pub(in crate::sandbox) fn refused(errcode: i64) -> Refusal {
    Refusal { errcode, errmsg: words(errcode).to_owned() }
}

/// 40164 tells which address it saw, in both notations.
pub(in crate::sandbox) fn not_in_whitelist(peer: IpAddr) -> Refusal {
    let errmsg = match peer {
        IpAddr::V4(ip) => format!("invalid ip {ip} ipv6 ::ffff:{ip}, not in whitelist"),
        IpAddr::V6(ip) => format!("invalid ip {ip}, not in whitelist"),
    };
    Refusal { errcode: 40164, errmsg }
}

fn words(errcode: i64) -> &'static str {
    match errcode {
        -1 => "system error",
        40001 => "invalid credential, access_token is invalid or not latest",
        40002 => "invalid grant_type",
        40003 => "invalid openid",
        40013 => "invalid appid",
        40014 => "invalid access_token",
        40029 => "invalid code",
        40030 => "invalid refresh_token",
        40097 => "invalid args",
        40125 => "invalid appsecret",
        40163 => "code been used",
        40226 => "code blocked",
        40243 => "appsecret has been frozen",
        41001 => "access_token missing",
        41002 => "appid missing",
        41003 => "refresh_token missing",
        41004 => "appsecret missing",
        41008 => "missing code",
        41009 => "missing openid",
        42001 => "access_token expired",
        42002 => "refresh_token expired",
        42003 => "code expired",
        43001 => "require GET method",
        43002 => "require POST method",
        44002 => "empty post data",
        45009 => "reach max api daily quota limit",
        // WeChat's own spelling and spacing.
        45011 => "api minute-quota reach limit  mustslower  retry next minute",
        47001 => "data format error",
        48001 => "api unauthorized",
        48006 => "forbid to clear quota because of reaching the limit",
        // Only a fault asks for a number whose words are not known here.
        _ => "error",
    }
}

/// The answer on the wire.
pub(in crate::sandbox) fn respond(api: Api, reply: &Reply) -> Response {
    let body = match reply {
        Ok(value) => value.clone(),
        Err(Refusal { errcode, errmsg }) => {
            let rid = random_text(24).to_lowercase();
            let rid = format!("{}-{}-{}", &rid[..8], &rid[8..16], &rid[16..]);
            json!({"errcode": errcode, "errmsg": format!("{errmsg} rid: {rid}")})
        }
    };
    let mut response = Response::new(Body::from(body.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(api.content_type()));
    response
}
