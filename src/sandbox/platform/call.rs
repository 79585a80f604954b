//! One call of the platform API: name its app, count it, execute, answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::routing::{MethodRouter, any};

use super::answer::{Reply, not_in_whitelist, refused, respond};
use super::api::Api;
use super::oauth::sns;
use super::request::{Peer, Request, pairs};
use super::{mini, tokens};
use crate::sandbox::call::{self, base};
use crate::sandbox::faults::{Hit, Kind, On, Set};
use crate::sandbox::state::SandboxState;

/// The handler of one call, for every method: a wrong one has an errcode too.
pub(in crate::sandbox) fn on(api: Api) -> MethodRouter<Arc<SandboxState>> {
    any(
        move |State(sandbox): State<Arc<SandboxState>>,
              method: Method,
              uri: Uri,
              headers: HeaderMap,
              peer: Option<Extension<Peer>>,
              body: Bytes| async move {
            let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(Peer(ip))| ip);
            let base = base(&sandbox, &headers, false);
            answered(api, &sandbox, &Request { method, query: pairs(&uri), body, peer, base }).await
        },
    )
}

async fn answered(api: Api, sandbox: &SandboxState, request: &Request) -> Response {
    let appid = {
        let mut platform = sandbox.platform();
        let appid = subject(api, &platform, request, sandbox).unwrap_or_default();
        platform.calls.arrived(api, &appid);
        appid
    };
    let hit = sandbox.faults.meet_app(api, &appid);
    call::run(&Call { api, sandbox, request, appid }, sandbox, hit).await
}

/// The app that the call is about, as far as it is one of ours.
fn subject(api: Api, platform: &super::Platform, request: &Request, sandbox: &SandboxState) -> Option<String> {
    let known =
        |token: Option<&str>| platform.token_store.known(token?, sandbox.now()).map(|known| known.appid.to_owned());
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
    sandbox: &'a SandboxState,
    request: &'a Request,
    appid: String,
}

impl call::Call for Call<'_> {
    type Reply = Reply;

    fn on(&self) -> On {
        On::Platform(self.api)
    }

    fn execute(&self) -> Reply {
        let Call { api, sandbox, request, .. } = self;
        if api.is_post() && request.method != Method::POST {
            return Err(refused(43002));
        }
        if !api.is_post() && request.method != Method::GET {
            return Err(refused(43001));
        }
        let (mut platform, now) = (sandbox.platform(), sandbox.now());
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

    fn refusal(&self, hit: &Hit) -> Reply {
        Err(match (hit.kind, hit.errcode) {
            (Kind::RateLimit, _) => refused(45011),
            (Kind::Errcode, 40164) => not_in_whitelist(self.request.peer.to_canonical()),
            (Kind::Errcode, errcode) => refused(errcode),
            _ => refused(-1),
        })
    }

    fn rewritten(reply: Reply, set: &Set) -> Reply {
        reply.map(|mut answer| {
            if let Some(members) = answer.as_object_mut() {
                for (name, text) in set {
                    match text {
                        Some(text) => members.insert(name.clone(), text.clone().into()),
                        None => members.remove(name),
                    };
                }
            }
            answer
        })
    }

    /// These answers carry no signature: no fault changes them.
    fn answer(&self, reply: Reply, _: Option<Kind>) -> Response {
        let errcode = reply.as_ref().err().map_or(0, |refusal| refusal.errcode);
        self.sandbox.platform().calls.answered(self.api, &self.appid, errcode);
        respond(self.api, &reply)
    }
}
