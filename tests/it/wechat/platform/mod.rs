//! The platform API's calls, as bytes to and from a server: what all those tests share, and the table of refusals.

mod answers;
mod calls;
mod garbled;
mod secrecy;

use wxpay_worker::config::{TokenApi, Wechat};
use wxpay_worker::ids::OpenId;
use wxpay_worker::secret::Secret;
use wxpay_worker::wechat::mini_program::{code2session, phone_number};
use wxpay_worker::wechat::oauth::{exchange, userinfo};
use wxpay_worker::wechat::platform::{Class, Credential, PlatformClient, PlatformError};
use wxpay_worker::wechat::token::{access_token, jsapi_ticket};

use super::server::{Answer, Server, http};

pub const APP_SECRET: &str = "5ec2e7a9b1d0c3f45ec2e7a9b1d0c3f4";
pub const TOKEN: &str = "91_globalTOKENglobalTOKEN";
pub const USER_TOKEN: &str = "92_userTOKENuserTOKEN";
pub const CODE: &str = "081kCode&b=c d";
pub const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

pub fn client(url: &str) -> PlatformClient {
    PlatformClient::new(&super::wechat(url, "https://unused.example.com")).unwrap()
}

pub fn client_of(config: &Wechat) -> PlatformClient {
    PlatformClient::new(config).unwrap()
}

pub fn secret() -> Secret {
    Secret::new(APP_SECRET)
}

/// A server that gives these answers one after the other, and the last one for ever.
pub fn in_order(bodies: &[&str]) -> Server {
    let bodies: Vec<String> = bodies.iter().map(|body| (*body).to_owned()).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |_| {
        let next = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Answer::Bytes(http(200, &bodies[next.min(bodies.len() - 1)]))
    })
}

pub fn refusing(errcode: i64) -> String {
    format!("{{\"errcode\":{errcode},\"errmsg\":\"no, rid: 65f1-0a-7b\"}}")
}

/// Every call there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Exchange,
    Userinfo,
    Stable,
    Classic,
    Ticket,
    Session,
    Phone,
}

pub const CALLS: [Call; 7] =
    [Call::Exchange, Call::Userinfo, Call::Stable, Call::Classic, Call::Ticket, Call::Session, Call::Phone];

impl Call {
    /// Makes the call; a success is given as its `Debug` text.
    pub async fn make(self, client: &PlatformClient) -> Result<String, PlatformError> {
        let (appid, openid) = (super::app_id(), OpenId::parse(OPENID).unwrap());
        let (token, user_token) = (Secret::new(TOKEN), Secret::new(USER_TOKEN));
        match self {
            Call::Exchange => exchange(client, &appid, &secret(), CODE).await.map(|v| format!("{v:?}")),
            Call::Userinfo => userinfo(client, &user_token, &openid).await.map(|v| format!("{v:?}")),
            Call::Stable => token_by(client, TokenApi::Stable).await,
            Call::Classic => token_by(client, TokenApi::Classic).await,
            Call::Ticket => jsapi_ticket(client, &token).await.map(|v| format!("{v:?}")),
            Call::Session => code2session(client, &appid, &secret(), CODE).await.map(|v| format!("{v:?}")),
            Call::Phone => phone_number(client, &token, &appid, CODE).await.map(|v| format!("{v:?}")),
        }
    }

    pub fn uses_a_code(self) -> bool {
        match self {
            Call::Exchange | Call::Session | Call::Phone => true,
            Call::Userinfo | Call::Stable | Call::Classic | Call::Ticket => false,
        }
    }
}

async fn token_by(client: &PlatformClient, api: TokenApi) -> Result<String, PlatformError> {
    access_token(client, &super::app_id(), &secret(), api).await.map(|issued| format!("{issued:?}"))
}

/// Every number of the platform's pages whose meaning does not depend on the call.
const REFUSALS: [(Class, &[i64]); 8] = [
    (Class::Busy, &[-1]),
    (Class::LoginOver, &[40029, 40030, 40163, 42002, 42003, 42007]),
    (
        Class::Configuration,
        &[40013, 40125, 40164, 40243, 48001, 48004, 50004, 50007, 61024, 89501, 89503, 89506, 89507],
    ),
    (Class::QuotaUsedUp, &[45009]),
    (Class::TooFrequent, &[45011]),
    (Class::UserRefused, &[40226, 43004, 50001, 50002, 50005]),
    (Class::Bug, &[40002, 40003, 41001, 41002, 41003, 41004, 41008, 41009, 43001, 43002, 43003, 44002, 47001]),
    (Class::Other, &[48006, 1, 40000, 99999, i64::MAX, i64::MIN]),
];

#[test]
fn every_number_has_its_class_whatever_entitles_to_the_call() {
    for credential in [Credential::Secret, Credential::UserToken, Credential::GlobalToken] {
        for (class, numbers) in REFUSALS {
            for number in numbers {
                assert_eq!(Class::of(*number, credential), class, "{number} for {credential:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_dead_token_means_what_it_means_for_the_call_it_was_used_in() {
    for errcode in [40001, 40014, 42001] {
        let server = Server::saying(refusing(errcode));
        let client = client(&server.url);
        for call in CALLS {
            let class = match call {
                // There is no token in it: it is the secret that is wrong.
                Call::Exchange | Call::Stable | Call::Classic | Call::Session => Class::Configuration,
                // The user's own token: its death says nothing of the one that all share.
                Call::Userinfo => Class::LoginOver,
                Call::Ticket | Call::Phone => Class::TokenDead,
            };
            let error = call.make(&client).await.unwrap_err();
            assert_eq!(error.class(), Some(class), "{errcode} for {call:?}");
        }
        assert_eq!(server.received().len(), CALLS.len(), "none of these is repeated here");
    }
}

#[tokio::test]
async fn a_refusal_keeps_the_number_and_the_id_that_support_asks_for() {
    let rid = async |errmsg: &str| {
        let server = Server::saying(format!("{{\"errcode\":40013,\"errmsg\":\"{errmsg}\"}}"));
        match Call::Classic.make(&client(&server.url)).await {
            Err(PlatformError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    };
    let refusal = rid("invalid appid, rid: 65f1c0de-0a1b2c3d-4e5f6071").await;
    assert_eq!((refusal.errcode, refusal.rid.as_deref()), (40013, Some("65f1c0de-0a1b2c3d-4e5f6071")));
    assert_eq!(refusal.to_string(), "WeChat refused: errcode 40013, rid 65f1c0de-0a1b2c3d-4e5f6071");
    let endless = format!("rid: {}", "a".repeat(65));
    for none in ["invalid appid", "rid:", "rid: <b>", &endless] {
        assert_eq!(rid(none).await.rid, None, "{none}");
    }
    let silent = Server::saying("{\"errcode\":\"40013\"}");
    let error = Call::Classic.make(&client(&silent.url)).await.unwrap_err();
    assert_eq!(error.to_string(), "WeChat refused: errcode 40013, rid none", "a number in quotes, no text at all");
}
