//! `/_sandbox/jweixin.js` and `/_sandbox/bridge/…`: the browser inside WeChat, as far as a page meets it.
//!
//! The script runs in pages of other origins, so its three routes carry CORS headers for those pages and no others. The
//! answers are WeChat's words; a payer is asked only when everything held.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, options, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::js_config;
use super::js_config::Config;
use super::pay_check::{Bill, Block, why};
use super::state::{Next, Sheet, Via};
use crate::ids::OpenId;
use crate::sandbox::control::wire::{Answer, Problem, Read};
use crate::sandbox::ledger::account::{Handle, PayerFunds};
use crate::sandbox::ledger::payment_flow;
use crate::sandbox::page_style::palette;
use crate::sandbox::platform::Platform;
use crate::sandbox::platform::oauth::site::{admitted, is_loopback, site};
use crate::sandbox::state::SandboxState;

pub(in crate::sandbox) fn router() -> Router<Arc<SandboxState>> {
    Router::new()
        .route("/_sandbox/jweixin.js", get(script))
        .route("/_sandbox/bridge/config", post(config).merge(options(preflight)))
        .route("/_sandbox/bridge/pay", post(pay).merge(options(preflight)))
        .route("/_sandbox/bridge/act", post(act).merge(options(preflight)))
        .route("/_sandbox/bridge/request_payment", post(request_payment))
        .route("/_sandbox/bridge/behaviour", post(behaviour))
}

async fn script() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/javascript; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
    ];
    (headers, include_str!("jweixin.js").replace("{{palette}}", &palette(":host"))).into_response()
}

/// The page that calls, if it is one that may: on loopback, or of one of the apps.
fn caller<'h>(platform: &Platform, headers: &'h HeaderMap) -> Result<Option<&'h str>, Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(None) };
    let refused = || Problem {
        status: StatusCode::FORBIDDEN,
        error: "bad_origin",
        message: "this page is neither on loopback nor of one of the apps".to_owned(),
    };
    let origin = origin.to_str().map_err(|_| refused())?;
    let (_, authority) = site(origin).ok_or_else(refused)?;
    let of_an_app = || {
        let mut domains = platform.apps.values().map(|app| &app.settings.js_domains);
        domains.any(|domains| !domains.is_empty() && admitted(origin, domains))
    };
    if is_loopback(&authority) || of_an_app() { Ok(Some(origin)) } else { Err(refused()) }
}

fn allow(mut response: Response, origin: Option<&str>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    }
    response
}

async fn preflight(State(sandbox): State<Arc<SandboxState>>, headers: HeaderMap) -> Result<Response, Problem> {
    let origin = caller(&sandbox.platform(), &headers)?;
    Ok(allow(StatusCode::NO_CONTENT.into_response(), origin))
}

/// Who sits at the browser.
fn payer(platform: &Platform, headers: &HeaderMap) -> usize {
    platform.people.at_browser(headers.get(header::COOKIE).and_then(|value| value.to_str().ok()))
}

async fn config(
    State(sandbox): State<Arc<SandboxState>>,
    headers: HeaderMap,
    Read(config): Read<Config>,
) -> Result<Response, Problem> {
    let mut platform = sandbox.platform();
    let origin = caller(&platform, &headers)?;
    let person = payer(&platform, &headers);
    let own_page = origin.is_none_or(|origin| site(origin) == site(&config.url));
    let checked = match own_page {
        true => js_config::check(&platform, config, person, sandbox.now()),
        false => Err("config:invalid url domain"),
    };
    let answer = match checked {
        Ok(grant) => json!({"errMsg": "config:ok", "grant": platform.bridge.grant(grant)}),
        Err(words) => json!({"errMsg": words}),
    };
    Ok(allow(Json(answer).into_response(), origin))
}

/// A payment's end in the caller's own form.
fn ended(via: Via, result: &str, desc: Option<&str>) -> Value {
    let after = |name: &str| desc.map_or_else(|| format!("{name}:{result}"), |desc| format!("{name}:{result}, {desc}"));
    match via {
        Via::Bridge => {
            let mut answer = json!({"result": result, "err_msg": format!("get_brand_wcpay_request:{result}")});
            if let Some(desc) = desc {
                answer["err_desc"] = json!(desc);
            }
            answer
        }
        Via::ChooseWxPay => json!({"result": result, "errMsg": after("chooseWXPay")}),
        Via::RequestPayment if result == "cancel" => json!({"result": result, "errMsg": "requestPayment:fail cancel"}),
        Via::RequestPayment => json!({"result": result, "errMsg": after("requestPayment")}),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayRequest {
    via: Via,
    /// Of the config, for `chooseWXPay`.
    grant: Option<String>,
    url: String,
    params: Map<String, Value>,
}

impl PayRequest {
    fn block(&self, platform: &Platform) -> Result<Block, String> {
        match self.via {
            Via::Bridge | Via::RequestPayment => Block::of_bridge(&self.params),
            Via::ChooseWxPay => {
                let grant = self.grant.as_deref().and_then(|name| platform.bridge.granted(name));
                let grant = grant.filter(|grant| grant.apis.iter().any(|api| api == "chooseWXPay"));
                let grant = grant.ok_or("the permission value is offline verifying")?;
                Block::of_choose(&self.params, grant.appid.clone())
            }
        }
    }
}

async fn pay(
    State(sandbox): State<Arc<SandboxState>>,
    headers: HeaderMap,
    Read(request): Read<PayRequest>,
) -> Result<Response, Problem> {
    let (origin, checked, via) = {
        let platform = sandbox.platform();
        let origin = caller(&platform, &headers)?;
        (origin, on_page(&platform, &request, payer(&platform, &headers)), request.via)
    };
    let answer = match checked.and_then(|(block, openid)| Ok((block.check(&sandbox, &openid)?, openid))) {
        Ok((bill, openid)) => proceed(&sandbox, via, bill, openid),
        Err(desc) => ended(via, "fail", Some(&desc)),
    };
    Ok(allow(Json(answer).into_response(), origin))
}

/// The block and its payer, if the app's pages may pay at all. The app's JS domains stand for its payment directories.
fn on_page(platform: &Platform, request: &PayRequest, person: usize) -> Result<(Block, OpenId), String> {
    let block = request.block(platform)?;
    let domains = platform.apps.get(&block.appid).map(|app| &app.settings.js_domains);
    if !admitted(&request.url, domains.into_iter().flatten()) {
        return Err(format!("当前页面的URL未注册：{}", request.url));
    }
    let openid = platform.people.openid(person, &block.appid);
    Ok((block, OpenId::parse(openid).map_err(|_| "系统繁忙，请稍后再试".to_owned())?))
}

/// Everything held: the cashier, or what the control API wants instead.
fn proceed(sandbox: &Arc<SandboxState>, via: Via, bill: Bill, openid: OpenId) -> Value {
    let next = sandbox.platform().bridge.next.take();
    let Bill { prepay_id, amount, body, payee, merchant } = bill;
    let sheet = Sheet { via, prepay_id, openid };
    match next {
        None => {
            let sheet = sandbox.platform().bridge.open(sheet);
            json!({
                "result": "sheet", "sheet": sheet, "amount": amount, "body": body, "payee": payee, "merchant": merchant,
            })
        }
        Some(Next::LieOk) => ended(via, "ok", None),
        Some(Next::Cancel) => finish(sandbox, &sheet, Action::Cancel),
        Some(Next::Pay) => finish(sandbox, &sheet, Action::Pay),
        Some(Next::Fail) => ended(via, "fail", Some("系统繁忙，请稍后再试")),
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Pay,
    Cancel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    sheet: String,
    action: Action,
}

/// The payer decided.
async fn act(
    State(sandbox): State<Arc<SandboxState>>,
    headers: HeaderMap,
    Read(act): Read<Act>,
) -> Result<Response, Problem> {
    let (origin, sheet) = {
        let mut platform = sandbox.platform();
        let origin = caller(&platform, &headers)?;
        let sheet = platform.bridge.close(&act.sheet);
        (origin, sheet)
    };
    let sheet = sheet.ok_or(Problem {
        status: StatusCode::CONFLICT,
        error: "no_cashier",
        message: "this cashier is not open, or not any more".to_owned(),
    })?;
    Ok(allow(Json(finish(&sandbox, &sheet, act.action)).into_response(), origin))
}

fn finish(sandbox: &Arc<SandboxState>, sheet: &Sheet, action: Action) -> Value {
    let handle = Handle::PrepayId(&sheet.prepay_id);
    let (done, word) = match action {
        Action::Pay => {
            let funds = PayerFunds { openid: Some(sheet.openid.clone()), ..PayerFunds::default() };
            (payment_flow::pay(sandbox, handle, funds).map(drop), "ok")
        }
        Action::Cancel => {
            let now = sandbox.now();
            (sandbox.book().cancel(handle, now).map(drop), "cancel")
        }
    };
    match done {
        Ok(()) => ended(sheet.via, word, None),
        Err(refused) => ended(sheet.via, "fail", Some(&why(refused))),
    }
}

/// What a mini program's `wx.requestPayment` would do with a block; there is no page, so the payer decides at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestPayment {
    appid: String,
    /// Who holds the phone; the browser's person when left out.
    openid: Option<OpenId>,
    params: Map<String, Value>,
    action: Option<Action>,
}

async fn request_payment(
    State(sandbox): State<Arc<SandboxState>>,
    Read(RequestPayment { appid, openid, params, action }): Read<RequestPayment>,
) -> Answer {
    let via = Via::RequestPayment;
    let current = || {
        let platform = sandbox.platform();
        OpenId::parse(platform.people.openid(platform.people.at_browser(None), &appid)).ok()
    };
    let openid = openid.or_else(current).ok_or_else(|| Problem::bad_request("no user holds the phone"))?;
    let checked = Block::of_request_payment(&params, appid.clone()).and_then(|block| block.check(&sandbox, &openid));
    let answer = match checked {
        Ok(bill) => {
            let sheet = Sheet { via, prepay_id: bill.prepay_id, openid };
            finish(&sandbox, &sheet, action.unwrap_or(Action::Pay))
        }
        Err(desc) => ended(via, "fail", Some(&desc)),
    };
    Ok(Json(answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behaviour {
    next: Option<Next>,
}

/// How the next payment of a page goes; null: as the payer decides.
async fn behaviour(State(sandbox): State<Arc<SandboxState>>, Read(Behaviour { next }): Read<Behaviour>) -> Answer {
    sandbox.platform().bridge.next = next;
    Ok(Json(json!({"next": next})))
}
