//! The console's page of payers: sessions are ended, a payer is erased after a preview, by whom it may be.

use wxpay_worker::ids::{AppKey, OpenId};
use wxpay_worker::store::Role;

use super::OTHER;
use crate::console_pages::user::User;
use crate::harness::service::{InProcess, OPENID, TestService};
use crate::harness::sql::texts;

const PAGE: &str = "/console/payers";
const END: &str = "/console/payers/end-sessions";
const ERASE: &str = "/console/payers/erase";
const ERASURES: &str = "SELECT COUNT(*) FROM erasures";

async fn service() -> InProcess {
    TestService::new().config("[console]\nenabled = true\n").in_process().await
}

fn fields<'a>(openid: &'a str, reason: &'a str) -> [(&'a str, &'a str); 3] {
    [("app", "shop"), ("openid", openid), ("reason", reason)]
}

async fn audited(service: &InProcess, action: &str) -> Vec<String> {
    let sql = format!("SELECT actor || ' ' || reason || ' ' || subject FROM audit WHERE action = '{action}'");
    texts(service.store.db(), &sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_the_sessions_of_one_payer_and_erases_none() {
    let service = service().await;
    service.knows(OPENID).await;
    let user = User::log_in(&service, Role::Operator, None).await;
    assert_eq!(user.page("/console/settings").await.link("Payers"), PAGE);
    let page = user.page(PAGE).await;
    page.shows("The payer may log in again.");
    page.hides(ERASE);
    let (app, openid) = (AppKey::parse("shop").unwrap(), OpenId::parse(OPENID).unwrap());
    for (wrong, problem) in [
        (fields(OPENID, " "), "A reason is required."),
        (fields("no openid", "a phone was lost"), "An openid has letters"),
        ([("app", "other"), ("openid", OPENID), ("reason", "a phone was lost")], "Choose an app."),
    ] {
        let answer = user.submit(END, &wrong).await;
        assert_eq!(answer.status, 422, "{wrong:?}");
        answer.shows(problem);
        assert!(answer.text.contains(&format!("value=\"{}\"", wrong[1].1)), "what was entered stays");
    }
    assert_eq!(service.store.sessions_ended_at(&app, &openid).await.unwrap(), None);
    assert_eq!(user.submit_without_token(END, &fields(OPENID, "a phone was lost")).await.status, 403);
    let ended = user.submit(END, &fields(OPENID, "a phone was lost")).await;
    assert_eq!((ended.status, ended.location.as_str()), (303, PAGE), "{}", ended.words());
    assert_eq!(service.store.sessions_ended_at(&app, &openid).await.unwrap(), Some(service.clock.now()));
    let other = OpenId::parse(OTHER).unwrap();
    assert_eq!(service.store.sessions_ended_at(&app, &other).await.unwrap(), None);
    let payer = service.store.payer_name(&openid).await.unwrap();
    let row = format!("operator-false a phone was lost payer:shop:{payer}");
    assert_eq!(audited(&service, "sessions.end").await, [row]);
    let typed = [("app", "shop"), ("openid", OPENID), ("reason", "asked"), ("typed", &OPENID[OPENID.len() - 4..])];
    assert_eq!(user.submit(ERASE, &typed).await.status, 403);
    assert_eq!(service.number(ERASURES).await, 0);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_sees_what_goes_and_types_the_end_of_the_openid() {
    let service = service().await;
    service.knows(OPENID).await;
    service.place("CON00001").await;
    let user = User::log_in(&service, Role::Admin, None).await;
    user.page(PAGE).await.shows("No erasures.");
    let asked = fields(OPENID, "request 4711");
    let typed = |end: &'static str| [asked[0], asked[1], asked[2], ("typed", end)];
    let preview = user.submit(ERASE, &asked).await;
    assert_eq!(preview.status, 200, "{}", preview.words());
    for text in [OPENID, "request 4711", "At once: sessions", "This cannot be undone."] {
        preview.shows(text);
    }
    let wrong = user.submit(ERASE, &typed("S6o1")).await;
    assert_eq!(wrong.status, 422);
    wrong.shows("That is not how the openid ends.");
    assert_eq!(service.number(ERASURES).await, 0, "a preview erases nothing");
    assert_eq!(service.number("SELECT COUNT(*) FROM users").await, 1);

    let done = user.submit(ERASE, &typed(&OPENID[OPENID.len() - 4..])).await;
    let id = service.number("SELECT id FROM erasures").await;
    assert_eq!((done.status, done.location), (303, format!("/console/payers/erasures/{id}")));
    assert_eq!(service.number("SELECT COUNT(*) FROM users").await, 0);
    let payer = service.store.payer_name(&OpenId::parse(OPENID).unwrap()).await.unwrap();
    let row = format!("admin-false request 4711 payer:shop:{payer}");
    assert_eq!(audited(&service, "payer.erase").await, [row.as_str()]);
    service.until_erasure_is("waiting").await;
    for path in [PAGE.to_owned(), format!("/console/payers/erasures/{id}")] {
        let page = user.page(&path).await;
        for text in [payer.as_str(), "waiting", "orders that can be paid: 1", "request 4711", "admin-false"] {
            page.shows(text);
        }
        page.hides(OPENID);
        user.get_in_chinese(&path).await.shows("可支付的订单: 1");
    }
    let page = user.page(&format!("/console/payers/erasures/{id}")).await;
    user.page(&page.link("Audit record")).await.shows(&payer);
    assert_eq!(user.get("/console/payers/erasures/4711").await.status, 404);
    service.pay("CON00001").await;
    service.until_state("CON00001", "paid").await;
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payer_who_is_not_known_is_not_erased_and_the_form_keeps_what_was_entered() {
    let service = service().await;
    let user = User::log_in(&service, Role::Admin, None).await;
    for openid in [OTHER, "CON00001"] {
        let typed =
            [("app", "shop"), ("openid", openid), ("reason", "request 1"), ("typed", &openid[openid.len() - 4..])];
        let answer = user.submit(ERASE, &typed).await;
        assert_eq!(answer.status, 422, "{}", answer.words());
        answer.shows("No such payer is known under this app.");
        assert!(answer.text.contains(&format!("value=\"{openid}\"")));
    }
    assert_eq!(service.number(ERASURES).await, 0);
    let ended = user.submit(END, &fields(OTHER, "a typo")).await;
    assert_eq!(ended.status, 303);
    assert!(ended.said.concat().contains("Nothing is kept of such a payer under this app"), "{:?}", ended.said);
    service.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_do_neither_sees_nothing_and_others_only_what_is_of_their_merchants() {
    let service = service().await;
    service.knows(OPENID).await;
    let viewer = User::log_in(&service, Role::Viewer, None).await;
    viewer.page("/console/settings").await.hides(PAGE);
    let id = service.asks_erasure().await["id"].as_i64().unwrap();
    let one = format!("/console/payers/erasures/{id}");
    for path in [PAGE, &one] {
        assert_eq!(viewer.get(path).await.status, 403, "{path}");
    }
    for path in [END, ERASE] {
        assert_eq!(viewer.submit(path, &fields(OPENID, "why not")).await.status, 403, "{path}");
    }
    let of_none = User::log_in(&service, Role::Admin, Some(&["elsewhere"])).await;
    let page = of_none.page(PAGE).await;
    page.shows("No erasures.");
    for path in [END, ERASE] {
        page.hides(path);
        assert_eq!(of_none.submit(path, &fields(OPENID, "why not")).await.status, 422, "{path}");
    }
    assert_eq!(of_none.get(&one).await.status, 404);
    let of_main = User::log_in(&service, Role::Operator, Some(&["main"])).await;
    of_main.page(&one).await.shows("the payer asked for it");
    assert_eq!(service.number("SELECT COUNT(*) FROM audit WHERE action = 'sessions.end'").await, 0);
    assert_eq!(service.number(ERASURES).await, 1);
    service.finish().await;
}
