//! A payer whose row retention removed: still known to the session, and sent to the login by the routes that need the
//! row.

use std::time::Duration;

use wxpay_worker::ids::{AppKey, OpenId};
use wxpay_worker::store::Kept;

use super::browser::{Browser, SESSION, data, openid_of, reason, stage};
use crate::http::stage::Stage;

const ME: &str = "/api/wechat/getUserInfo";

async fn remove_payers(stage: &Stage) {
    let now = stage.clock.now().after(Duration::from_secs(1));
    // The codes of the last hour keep their payers.
    stage.store.purge_login_codes(now, 100).await.unwrap();
    assert_eq!(stage.store.remove_expired(Kept::Users, None, now).await.unwrap().removed, 1);
    let openid = OpenId::parse(openid_of("good-Alice")).unwrap();
    assert_eq!(stage.store.user(&AppKey::parse("shop").unwrap(), &openid).await.unwrap(), None);
}

#[tokio::test]
async fn a_payer_who_was_removed_is_sent_to_the_login_and_comes_back_as_the_same_one() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::logged_in(&stage, "good-Alice").await;
    data(&browser.get(&stage, ME).await);
    remove_payers(&stage).await;
    let reply = browser.get(&stage, ME).await;
    assert_eq!((reply.status, reason(&reply).as_str()), (401, "not_logged_in"));
    // A page that finds one of them does not send its payer to the login.
    assert!(!browser.cookies.contains_key("openId") && !browser.cookies.contains_key(SESSION), "{:?}", browser.cookies);
    let state = browser.begin(&stage, "snsapi_userinfo").await;
    assert_eq!(browser.come_back(&stage, "good-2-Alice", &state).await.status, 302);
    assert!(browser.cookies.contains_key("openId"));
    assert_eq!(data(&browser.get(&stage, ME).await)["has_profile"], true);
    stage.finish().await;
}

#[tokio::test]
async fn what_needs_no_row_goes_on_with_the_session() {
    let (stage, _platform) = stage().await;
    let mut browser = Browser::logged_in(&stage, "good-Alice").await;
    remove_payers(&stage).await;
    let reply = browser.get(&stage, "/api/wechat/pay/status?order_no=W100001").await;
    assert_ne!(reply.status, 401, "{reply:?}");
    assert!(browser.cookies.contains_key(SESSION));
    stage.finish().await;
}
