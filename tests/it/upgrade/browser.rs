//! What browsers and mini programs hold from before.

use serde_json::Value;
use sha1::{Digest, Sha1};

use super::installation::{CALLBACK, Installation, answer};
use crate::harness::service::APP_ID;

pub async fn sessions_and_tokens_are_good(installed: &Installation) {
    let cookies = &installed.fixture.manifest["cookies"];
    let session = format!("wxpay_session={}", cookies["session"].as_str().unwrap());
    let get = async |path: &str, name: &str, value: &str| {
        answer(installed.http.get(format!("{}/api/wechat/{path}", installed.base)).header(name, value)).await
    };
    let (status, user) = get("getUserInfo", "cookie", &session).await;
    assert_eq!((status, &user["code"]), (200, &Value::from(0)), "{user}");
    let mini = format!("Bearer {}", cookies["mini"].as_str().unwrap());
    let (status, user) = get("getUserInfo", "authorization", &mini).await;
    assert_eq!((status, &user["code"]), (200, &Value::from(0)), "{user}");
    // The payer's open order is offered again, and no second one.
    let (status, wallet) = get("pay/payWallet?money=250", "cookie", &session).await;
    assert_eq!((status, &wallet["data"]["order_no"]), (200, &cookies["wallet_order_no"]), "{wallet}");
    pages_are_signed_with_the_old_ticket(installed).await;
    a_login_that_was_under_way_ends(installed).await;
}

async fn pages_are_signed_with_the_old_ticket(installed: &Installation) {
    let page = "http%3A%2F%2F127.0.0.1%3A5173%2Fpay";
    let (_, signed) =
        answer(installed.http.get(format!("{}/api/wechat/jssdk?explain=1&url={page}", installed.base))).await;
    let text = signed["data"]["explain"]["string_to_sign"].as_str().unwrap_or_else(|| panic!("{signed}"));
    let ticket = installed.fixture.manifest["tokens"]["shop/jsapi_ticket"].as_str().unwrap();
    let digest = Sha1::digest(text.replace("***", ticket));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(signed["data"]["signature"], hex, "the ticket is another one");
}

async fn a_login_that_was_under_way_ends(installed: &Installation) {
    let login = &installed.fixture.manifest["cookies"]["login"];
    let text = |name: &str| login[name].as_str().unwrap();
    let back = format!("{}/api/wechat/getOpenId", installed.base).replace(':', "%3A").replace('/', "%2F");
    let authorize = format!(
        "{}/connect/oauth2/authorize?appid={APP_ID}&redirect_uri={back}&response_type=code&scope=snsapi_base&state={}",
        installed.wechat_url,
        text("state")
    );
    let location = |response: &reqwest::Response| response.headers()["location"].to_str().unwrap().to_owned();
    let agreed = installed.http.get(authorize).send().await.unwrap();
    let returned =
        installed.http.get(location(&agreed)).header("cookie", format!("{}={}", text("name"), text("value")));
    let returned = returned.send().await.unwrap();
    assert_eq!((returned.status().as_u16(), location(&returned).as_str()), (302, CALLBACK));
    let set = returned.headers().get_all("set-cookie").iter().filter_map(|line| line.to_str().ok());
    assert!(set.into_iter().any(|line| line.starts_with("wxpay_session=")), "no session");
}
