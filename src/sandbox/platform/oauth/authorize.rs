//! `/connect/oauth2/authorize`: the page of `open.weixin.qq.com` that asks the user, or does not have to.
//!
//! A phone's layout, a plain form, no script. Everything WeChat is particular about is refused here, the order of the
//! parameters included; its error pages come with HTTP 200, as WeChat's do.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::codes::{Code, Purpose, Scope};
use super::people::COOKIE;
use super::site::admitted;
use crate::sandbox::cashier::escape;
use crate::sandbox::page_style::page_style;
use crate::sandbox::platform::Platform;
use crate::sandbox::platform::request::pairs;
use crate::sandbox::settings::PlatformKind;
use crate::sandbox::state::SandboxState;

const NAMES: [&str; 5] = ["appid", "redirect_uri", "response_type", "scope", "state"];
const STATE_BYTES: usize = 128;

/// The page and its form.
pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    Router::new().route("/connect/oauth2/authorize", get(show).post(act))
}

/// What an authorize address asks for.
struct Visit {
    appid: String,
    redirect_uri: String,
    scope: Scope,
    state: Option<String>,
}

/// What WeChat shows instead.
struct ErrorPage {
    /// Where the documents have one.
    code: Option<u32>,
    text: &'static str,
}

fn error(code: u32, text: &'static str) -> ErrorPage {
    ErrorPage { code: Some(code), text }
}

impl Visit {
    fn parse(platform: &Platform, uri: &Uri) -> Result<Visit, ErrorPage> {
        let query = pairs(uri);
        let get = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let filled = |name: &str| get(name).filter(|value| !value.is_empty());
        let appid = filled("appid").ok_or(error(10012, "appid 参数为空"))?;
        let redirect_uri = filled("redirect_uri").ok_or(error(10011, "redirect_uri 参数为空"))?;
        let scope = filled("scope").ok_or(error(10010, "scope 参数为空"))?;
        if get("state") == Some("") {
            return Err(error(10013, "state 参数为空"));
        }
        in_order(&query)?;
        if get("response_type") != Some("code") {
            return Err(ErrorPage { code: None, text: "response_type 参数错误" });
        }
        let app = platform.apps.get(appid).ok_or(error(40013, "AppID 参数错误"))?;
        if app.settings.kind != PlatformKind::OfficialAccount {
            return Err(error(10005, "该公众号没有这个 scope 的权限"));
        }
        let scope = match scope {
            "snsapi_base" => Scope::Base,
            "snsapi_userinfo" => Scope::Userinfo,
            _ => return Err(error(10005, "scope 参数错误或没有 scope 权限")),
        };
        let state = get("state");
        if state.is_some_and(|s| s.len() > STATE_BYTES || !s.bytes().all(|b| b.is_ascii_alphanumeric())) {
            return Err(ErrorPage { code: None, text: "state 参数错误" });
        }
        if !encoded(uri) || !admitted(redirect_uri, &app.settings.web_domain) {
            return Err(error(10003, "redirect_uri 域名与后台配置不一致"));
        }
        let (appid, redirect_uri) = (appid.to_owned(), redirect_uri.to_owned());
        Ok(Visit { appid, redirect_uri, scope, state: state.map(str::to_owned) })
    }

    /// Back to the app's page, with a code or, when the user refused, without.
    fn back(&self, code: Option<&str>) -> String {
        // What follows `#` stays at the end, or the code would never reach the server.
        let (page, fragment) = match self.redirect_uri.split_once('#') {
            Some((page, fragment)) => (page, Some(fragment)),
            None => (self.redirect_uri.as_str(), None),
        };
        let mut url = String::new();
        for c in page.chars() {
            // A header carries ASCII only.
            let mut bytes = [0u8; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                if byte.is_ascii() {
                    url.push(char::from(byte));
                } else {
                    // Writing to a String cannot fail.
                    let _ = write!(url, "%{byte:02X}");
                }
            }
        }
        let mut joint = if url.contains('?') { '&' } else { '?' };
        for (name, value) in [("code", code), ("state", self.state.as_deref())] {
            if let Some(value) = value {
                let _ = write!(url, "{joint}{name}={value}");
                joint = '&';
            }
        }
        if let Some(fragment) = fragment.filter(|f| f.is_ascii()) {
            let _ = write!(url, "#{fragment}");
        }
        url
    }
}

/// WeChat checks the order; what it does not know may only follow.
fn in_order(query: &[(String, String)]) -> Result<(), ErrorPage> {
    let wrong = ErrorPage {
        code: None,
        text: "参数错误：参数须按 appid、redirect_uri、response_type、scope、state 的顺序",
    };
    let named: Vec<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
    let wanted = if named.get(4) == Some(&"state") { 5 } else { 4 };
    let in_front = named.get(..wanted).is_some_and(|front| front == &NAMES[..wanted]);
    let repeated = named.iter().skip(wanted).any(|name| NAMES.contains(name));
    if in_front && !repeated { Ok(()) } else { Err(wrong) }
}

/// Whether the address inside the address is percent-encoded as a whole.
fn encoded(uri: &Uri) -> bool {
    let raw = uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("redirect_uri="));
    raw.is_some_and(|raw| raw.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%!*'()+".contains(&b)))
}

fn cookies(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::COOKIE).and_then(|value| value.to_str().ok())
}

async fn show(State(sandbox): State<Arc<SandboxState>>, uri: Uri, headers: HeaderMap) -> Response {
    let mut platform = sandbox.platform();
    let visit = match Visit::parse(&platform, &uri) {
        Ok(visit) => visit,
        Err(problem) => return error_page(&problem),
    };
    let person = platform.people.at_browser(cookies(&headers));
    let snapshot = platform.people.get(person).is_some_and(|person| person.snapshot);
    match visit.scope {
        Scope::Base => agree(&sandbox, &mut platform, &visit, person, false),
        // A snapshot page never asks: its user is not a person.
        Scope::Userinfo if snapshot => agree(&sandbox, &mut platform, &visit, person, true),
        Scope::Userinfo => consent(&platform, uri.query().unwrap_or_default(), person),
    }
}

async fn act(State(sandbox): State<Arc<SandboxState>>, uri: Uri, body: Bytes) -> Response {
    let mut platform = sandbox.platform();
    let visit = match Visit::parse(&platform, &uri) {
        Ok(visit) => visit,
        Err(problem) => return error_page(&problem),
    };
    let text = std::str::from_utf8(&body).unwrap_or_default();
    let form = Uri::try_from(format!("/?{text}")).map(|uri| pairs(&uri)).unwrap_or_default();
    let get = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    match get("action") {
        Some("allow") => {
            let chosen = get("user").and_then(|number| number.parse().ok());
            let Some(person) = chosen.filter(|number| platform.people.get(*number).is_some()) else {
                return error_page(&ErrorPage { code: None, text: "没有这个用户" });
            };
            let mut response = agree(&sandbox, &mut platform, &visit, person, false);
            let cookie = format!("{COOKIE}={person}; Path=/; HttpOnly; SameSite=Lax");
            if let Ok(value) = HeaderValue::from_str(&cookie) {
                response.headers_mut().insert(header::SET_COOKIE, value);
            }
            response
        }
        Some("deny") => redirect(&visit.back(None)),
        Some(_) | None => error_page(&ErrorPage { code: None, text: "请选择同意或拒绝" }),
    }
}

fn agree(sandbox: &SandboxState, platform: &mut Platform, visit: &Visit, person: usize, snapshot: bool) -> Response {
    let purpose = Purpose::Page { scope: visit.scope, snapshot };
    let code = platform.codes.issue(Code { appid: visit.appid.clone(), person, purpose }, sandbox.now());
    redirect(&visit.back(Some(&code)))
}

fn redirect(to: &str) -> Response {
    let headers = [(header::LOCATION, to.to_owned()), (header::CACHE_CONTROL, "no-store".to_owned())];
    (StatusCode::FOUND, headers).into_response()
}

fn consent(platform: &Platform, query: &str, current: usize) -> Response {
    let mut users = String::new();
    for (number, person) in platform.people.all() {
        let checked = if number == current { " checked" } else { "" };
        let _ = write!(
            users,
            r#"<label><input type="radio" name="user" value="{number}"{checked}> {}</label>"#,
            escape(&person.nickname)
        );
    }
    let form = format!(
        r#"<p>该网页申请获取你的昵称、头像</p>
<form method="post" action="/connect/oauth2/authorize?{}"><fieldset><legend>以谁的身份登录</legend>{users}</fieldset>
<button class="button" name="action" value="allow">同意</button>
<button class="button plain" name="action" value="deny">拒绝</button></form>"#,
        escape(query)
    );
    page("微信登录（模拟）", &form)
}

fn error_page(problem: &ErrorPage) -> Response {
    let code = problem.code.map_or_else(String::new, |code| format!("<p>错误码：{code}</p>"));
    page("无法打开网页", &format!("<p>{}</p>{code}", problem.text))
}

fn page(title: &str, content: &str) -> Response {
    let style = page_style();
    let html = format!(
        r#"<!DOCTYPE html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}{MORE}</style></head>
<body><main><h1>{title}</h1>{content}</main><footer>模拟的微信授权页</footer></body></html>
"#
    );
    // No form-action: browsers apply it to every redirect after the form, and those lead to the app's own pages.
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (StatusCode::OK, headers, html).into_response()
}

const MORE: &str = "p{text-align:center}fieldset{border:0;margin:2rem 0;padding:0}legend{color:inherit;padding:0}\
label{display:flex;gap:.75rem;align-items:center;min-height:3rem;overflow-wrap:anywhere}\
input{width:1.25rem;height:1.25rem;accent-color:var(--green)}";
