//! One call from its bytes to its answer: name its app, count it, meet a fault or none, execute, answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde_json::Value;

use super::answer::{Refusal, Reply, not_in_whitelist, refused, respond};
use super::api::Api;
use super::oauth::sns;
use super::{mini, tokens};
use crate::sandbox::faults::{Hit, Kind, On};
use crate::sandbox::http::wire::Wire;
use crate::sandbox::state::World;

/// Who is at the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::sandbox) struct Peer(pub IpAddr);

/// A request, read but not judged.
pub(in crate::sandbox) struct Request {
    pub method: Method,
    pub query: Vec<(String, String)>,
    pub body: Bytes,
    pub peer: IpAddr,
    /// Where the caller reached us.
    pub base: String,
}

impl Request {
    /// A parameter of the address; an empty one is as good as none.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &str, missing: i64) -> Result<&str, Refusal> {
        self.param(name).ok_or_else(|| refused(missing))
    }

    /// The body's object.
    pub fn json(&self) -> Result<Value, Refusal> {
        if self.body.is_empty() {
            return Err(refused(44002));
        }
        serde_json::from_slice(&self.body).ok().filter(Value::is_object).ok_or_else(|| refused(47001))
    }
}

/// A text of the body that must be there.
pub(in crate::sandbox) fn text<'v>(body: &'v Value, name: &str, missing: i64) -> Result<&'v str, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Err(refused(missing)),
        Some(Value::String(text)) if text.is_empty() => Err(refused(missing)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(refused(47001)),
    }
}

/// `a=1&b=2`, decoded, in its order.
pub(in crate::sandbox) fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

/// Where the caller reached us; what is no address becomes our own.
pub(in crate::sandbox) fn base(world: &World, headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(|host| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
    });
    host.map_or_else(|| format!("http://{}", world.addr), |host| format!("http://{host}"))
}

/// The handler of one call, for every method: a wrong one has an errcode too.
pub(in crate::sandbox) fn on(api: Api) -> MethodRouter<Arc<World>> {
    any(
        move |State(world): State<Arc<World>>,
              method: Method,
              uri: Uri,
              headers: HeaderMap,
              peer: Option<Extension<Peer>>,
              body: Bytes| async move {
            let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Peer(ip))| ip);
            let base = base(&world, &headers);
            call(api, &world, &Request { method, query: pairs(&uri), body, peer, base }).await
        },
    )
}

async fn call(api: Api, world: &World, request: &Request) -> Response {
    let appid = {
        let mut platform = world.platform();
        let appid = subject(api, &platform, request, world).unwrap_or_default();
        platform.calls.arrived(api, &appid);
        appid
    };
    let call = Call { api, world, request, appid };
    let response = match world.faults.meet_app(api, &call.appid) {
        None => call.execute(),
        Some(hit) => call.with_fault(hit).await,
    };
    world.passed.of(On::Platform(api)).notify_waiters();
    response
}

/// The app that the call is about, as far as it is one of ours.
fn subject(api: Api, platform: &super::Platform, request: &Request, world: &World) -> Option<String> {
    let known = |token: Option<&str>| platform.vault.known(token?, world.now()).map(|known| known.appid.to_owned());
    let named = |appid: &str| platform.apps.contains_key(appid).then(|| appid.to_owned());
    match api {
        Api::Token | Api::OauthAccessToken | Api::OauthRefreshToken | Api::Jscode2Session => {
            named(request.param("appid")?)
        }
        Api::StableToken => named(request.json().ok()?.get("appid")?.as_str()?),
        Api::GetTicket | Api::ClearQuota | Api::GetUserPhoneNumber => known(request.param("access_token")),
        Api::Userinfo | Api::Auth => platform.logins.app_of(request.param("access_token")?).map(str::to_owned),
    }
}

struct Call<'a> {
    api: Api,
    world: &'a World,
    request: &'a Request,
    appid: String,
}

impl Call<'_> {
    fn execute(&self) -> Response {
        let reply = self.reply();
        self.answer(&reply)
    }

    fn reply(&self) -> Reply {
        let Call { api, world, request, .. } = self;
        if api.is_post() && request.method != Method::POST {
            return Err(refused(43002));
        }
        if !api.is_post() && request.method != Method::GET {
            return Err(refused(43001));
        }
        let (mut platform, now) = (world.platform(), world.now());
        match api {
            Api::Token => tokens::token(&mut platform, request, now),
            Api::StableToken => tokens::stable_token(&mut platform, request, now),
            Api::GetTicket => tokens::getticket(&mut platform, request, now),
            Api::ClearQuota => tokens::clear_quota(&mut platform, request, now),
            Api::OauthAccessToken => sns::access_token(&mut platform, request, now),
            Api::OauthRefreshToken => sns::refresh_token(&mut platform, request, now),
            Api::Userinfo => sns::userinfo(&mut platform, request, now),
            Api::Auth => sns::auth(&mut platform, request, now),
            Api::Jscode2Session => mini::jscode2session(&mut platform, request, now),
            Api::GetUserPhoneNumber => mini::getuserphonenumber(&mut platform, request, now),
        }
    }

    fn answer(&self, reply: &Reply) -> Response {
        let errcode = reply.as_ref().err().map_or(0, |refusal| refusal.errcode);
        self.world.platform().calls.answered(self.api, &self.appid, errcode);
        respond(self.api, reply)
    }

    async fn with_fault(&self, hit: Hit) -> Response {
        let lost = |wire: Wire| {
            let mut response = self.execute();
            response.extensions_mut().insert(wire);
            response
        };
        let unheard = || hit.executed.then(|| self.reply());
        match hit.kind {
            Kind::Drop => {
                let mut response = StatusCode::OK.into_response();
                response.extensions_mut().insert(Wire::Lost);
                response
            }
            Kind::AnswerLost => lost(Wire::Lost),
            Kind::Reset => lost(Wire::Reset),
            Kind::Hang => lost(Wire::Hang),
            Kind::HalfBody => lost(Wire::Half),
            Kind::Delay => {
                tokio::time::sleep(hit.delay).await;
                self.execute()
            }
            Kind::Reorder => {
                self.world.let_another_pass(On::Platform(self.api), hit.delay).await;
                self.execute()
            }
            Kind::Slow => {
                let response = self.execute();
                tokio::time::sleep(hit.delay).await;
                response
            }
            Kind::Duplicate => {
                // The caller hears the second answer, which an unlucky network delivers.
                let _first = self.execute();
                self.execute()
            }
            Kind::Http500 => {
                let _executed = unheard();
                let page = "<html><head><title>500 Internal Server Error</title></head><body>nginx</body></html>";
                (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/html")], page).into_response()
            }
            Kind::SystemError => {
                let _executed = unheard();
                self.answer(&Err(refused(-1)))
            }
            Kind::Errcode => {
                let _executed = unheard();
                let refusal = match hit.errcode {
                    40164 => not_in_whitelist(self.request.peer.to_canonical()),
                    errcode => refused(errcode),
                };
                self.answer(&Err(refusal))
            }
            Kind::RateLimit => self.answer(&Err(refused(45011))),
            // Not possible here; the rules refuse them.
            Kind::Tamper | Kind::WrongSign | Kind::ForgeAmount | Kind::CrossMerchant | Kind::Refuse => self.execute(),
        }
    }
}
