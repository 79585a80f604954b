use std::time::Duration;

use serde_json::{Value, json};
use wxpay_worker::config::Wechat;
use wxpay_worker::retry::Transient;
use wxpay_worker::wechat::platform::{Class, PlatformClient, PlatformError};
use wxpay_worker::wechat::transport::{ClientError, MAX_REPLY_BYTES, TransportError};

use super::{APP_SECRET, CALLS, Call, OPENID, TOKEN, USER_TOKEN, client, client_of, in_order, refusing};
use crate::wechat::server::{Answer, Received, Server, http, unreachable};
use crate::wechat::wechat;

/// The code of these tests as a query carries it.
const CODE_IN_A_QUERY: &str = "081kCode%26b%3Dc+d";

async fn sent(call: Call) -> Received {
    let server = Server::saying(refusing(47001));
    call.make(&client(&format!("{}/", server.url))).await.unwrap_err();
    let [request] = &server.received()[..] else { panic!("one request") };
    request.clone()
}

#[tokio::test]
async fn each_call_sends_what_wechat_documents_and_nothing_else() {
    const APPID: &str = "wx8888888888888888";
    for call in CALLS {
        let (line, body) = match call {
            Call::Exchange => (
                format!(
                    "GET /sns/oauth2/access_token?appid={APPID}&secret={APP_SECRET}&code={CODE_IN_A_QUERY}\
                     &grant_type=authorization_code"
                ),
                Value::Null,
            ),
            Call::Userinfo => {
                (format!("GET /sns/userinfo?access_token={USER_TOKEN}&openid={OPENID}&lang=zh_CN"), Value::Null)
            }
            Call::Stable => (
                "POST /cgi-bin/stable_token".to_owned(),
                json!({
                    "grant_type": "client_credential", "appid": APPID, "secret": APP_SECRET, "force_refresh": false
                }),
            ),
            Call::Classic => (
                format!("GET /cgi-bin/token?grant_type=client_credential&appid={APPID}&secret={APP_SECRET}"),
                Value::Null,
            ),
            Call::Ticket => (format!("GET /cgi-bin/ticket/getticket?access_token={TOKEN}&type=jsapi"), Value::Null),
            Call::Session => (
                format!(
                    "GET /sns/jscode2session?appid={APPID}&secret={APP_SECRET}&js_code={CODE_IN_A_QUERY}\
                     &grant_type=authorization_code"
                ),
                Value::Null,
            ),
            Call::Phone => (
                format!("POST /wxa/business/getuserphonenumber?access_token={TOKEN}"),
                json!({ "code": "081kCode&b=c d" }),
            ),
        };
        let request = sent(call).await;
        assert_eq!(request.head.lines().next().unwrap(), format!("{line} HTTP/1.1"), "{call:?}");
        let head = request.head.to_ascii_lowercase();
        assert!(head.contains(&format!("\r\nuser-agent: wxpay-worker/{}", env!("CARGO_PKG_VERSION"))), "{head}");
        assert_eq!(head.contains("\r\ncontent-type: application/json"), !body.is_null(), "{head}");
        let sent = if request.body.is_empty() { Value::Null } else { serde_json::from_str(&request.body).unwrap() };
        assert_eq!(sent, body, "{call:?}");
    }
}

/// A success of each call.
fn success(call: Call) -> &'static str {
    match call {
        Call::Exchange => r#"{"access_token":"A","expires_in":7200,"openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}"#,
        Call::Userinfo => r#"{"openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o","nickname":"张三"}"#,
        Call::Stable | Call::Classic => r#"{"access_token":"A","expires_in":7200}"#,
        Call::Ticket => r#"{"errcode":0,"errmsg":"ok","ticket":"T","expires_in":7200}"#,
        Call::Session => r#"{"session_key":"K","openid":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}"#,
        Call::Phone => {
            r#"{"errcode":0,"phone_info":{"phoneNumber":"1","purePhoneNumber":"1","countryCode":"86",
                "watermark":{"timestamp":1,"appid":"wx8888888888888888"}}}"#
        }
    }
}

/// How often a call is made while WeChat is busy: a token is fetched once, because its caller keeps the time itself.
fn tries(call: Call) -> usize {
    match call {
        Call::Exchange | Call::Session | Call::Phone => 2,
        Call::Userinfo => 3,
        Call::Stable | Call::Classic | Call::Ticket => 1,
    }
}

#[tokio::test]
async fn a_busy_wechat_is_asked_again_as_often_as_the_call_allows() {
    let busy = refusing(-1);
    for call in CALLS {
        let mut answers = vec![busy.as_str(); tries(call) - 1];
        answers.push(success(call));
        let server = in_order(&answers);
        call.make(&client(&server.url)).await.unwrap();
        assert_eq!(server.received().len(), tries(call), "{call:?}");
        let heads: Vec<String> = server.received().into_iter().map(|r| r.head + &r.body).collect();
        assert!(heads.iter().all(|head| *head == heads[0]), "{call:?}: the repeat is the same call");
    }
}

#[tokio::test]
async fn a_wechat_that_stays_busy_ends_the_login_but_not_a_token() {
    for call in CALLS {
        let server = Server::saying(refusing(-1));
        let Err(PlatformError::Refused(refusal)) = call.make(&client(&server.url)).await else { panic!("{call:?}") };
        let class = if call.uses_a_code() { Class::LoginOver } else { Class::Busy };
        assert_eq!((refusal.errcode, refusal.class), (-1, class), "{call:?}");
        assert_eq!(server.received().len(), tries(call), "{call:?}");
    }
}

#[tokio::test]
async fn a_code_whose_answer_got_lost_is_not_tried_again() {
    for lost in [|| Answer::Hang, || Answer::Bytes(Vec::new()), || Answer::Bytes(http(502, "<html>"))] {
        for call in CALLS.into_iter().filter(|call| call.uses_a_code()) {
            let server = Server::start(move |_| lost());
            let impatient = Wechat { timeout: Duration::from_secs(2), ..wechat(&server.url, &server.url) };
            let error = call.make(&client_of(&impatient)).await.unwrap_err();
            let PlatformError::Transport(transport) = &error else { panic!("{call:?}: {error}") };
            assert!(transport.may_have_executed(), "{call:?}: {transport}");
            assert_eq!(server.until(1).await.len(), 1, "{call:?}");
            assert!(error.is_transient() && error.class().is_none(), "{call:?}");
        }
    }
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_an_error_that_may_pass() {
    for call in CALLS {
        let error = call.make(&client(&unreachable())).await.unwrap_err();
        assert!(matches!(error, PlatformError::Transport(TransportError::NotSent { .. })), "{call:?}: {error}");
        assert!(error.is_transient());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_status_is_an_error() {
    for status in [301, 302, 307, 308] {
        let elsewhere = Server::saying(success(Call::Classic));
        let location = elsewhere.url.clone();
        let server = Server::start(move |_| {
            let head = format!("HTTP/1.1 {status} X\r\nlocation: {location}/\r\ncontent-length: 0\r\n\r\n");
            Answer::Bytes(head.into_bytes())
        });
        for call in [Call::Classic, Call::Stable] {
            let error = call.make(&client(&server.url)).await.unwrap_err();
            assert_eq!(error, TransportError::Status { status }.into());
            assert!(!error.is_transient());
        }
        assert!(elsewhere.received().is_empty(), "{status}: the secret stays here");
    }
    for (status, passes) in [(400, false), (403, false), (500, true), (503, true)] {
        // A success in the body does not make up for the status.
        let server = Server::start(move |_| Answer::Bytes(http(status, success(Call::Classic))));
        let error = Call::Classic.make(&client(&server.url)).await.unwrap_err();
        assert_eq!(error, TransportError::Status { status }.into());
        assert_eq!(error.is_transient(), passes, "{status}");
    }
}

#[tokio::test]
async fn a_reply_without_end_is_given_up_at_the_cap() {
    let padded = |bytes: usize| format!("{}{}", success(Call::Classic), " ".repeat(bytes));
    let at_cap = Server::saying(padded(MAX_REPLY_BYTES - success(Call::Classic).len()));
    Call::Classic.make(&client(&at_cap.url)).await.unwrap();
    let over = Server::saying(padded(MAX_REPLY_BYTES - success(Call::Classic).len() + 1));
    let error = Call::Classic.make(&client(&over.url)).await.unwrap_err();
    assert_eq!(error, TransportError::TooLarge.into());
    assert!(!error.is_transient());
}

#[test]
fn an_address_that_is_none_makes_no_client_and_is_not_repeated() {
    for bad in ["", "api.weixin.qq.com", "ftp://x", "https://x/?secret=1", "https://x/#a", "https://u:p@x/"] {
        let config = Wechat { api_url: bad.into(), ..wechat("https://a.example.com", "https://b.example.com") };
        let error = PlatformClient::new(&config).unwrap_err();
        assert!(matches!(error, ClientError::Address { key: "api_url" }), "{bad}: {error}");
        assert!(!error.to_string().contains("u:p"), "{error}");
    }
}

#[test]
fn every_call_is_measured_under_the_last_part_of_its_path() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            for call in CALLS {
                let server = Server::saying(success(call));
                call.make(&client(&server.url)).await.unwrap();
            }
            Call::Ticket.make(&client(&unreachable())).await.unwrap_err();
        });
    });
    let text = handle.render();
    let apis =
        ["access_token", "userinfo", "stable_token", "token", "getticket", "jscode2session", "getuserphonenumber"];
    for (api, outcome) in apis.map(|api| (api, "answered")).into_iter().chain([("getticket", "not_sent")]) {
        let line = format!("wxpay_wechat_request_seconds_count{{api=\"{api}\",outcome=\"{outcome}\"}} 1");
        assert!(text.contains(&line), "{line} in {text}");
    }
}
