//! What the pages show of payments, in both languages, and what a hostile text comes to.

use wxpay_worker::clock::Timestamp;
use wxpay_worker::console::links;
use wxpay_worker::console::ui::money::yuan;
use wxpay_worker::console::ui::time::{beijing, relative};
use wxpay_worker::console::words::Lang;

use super::{Browser, role, service};
use crate::console_pages::user::SILENT;
use crate::harness::service::{InProcess, TestService};
use crate::harness::within_timeout;

const HOSTILE: &str = "\"><script>alert(1)</script>";

#[test]
fn money_time_and_links_are_exact() {
    for (fen, text) in
        [(0, "¥0.00"), (5, "¥0.05"), (123_456, "¥1,234.56"), (-100, "−¥1.00"), (10_000_000_000, "¥100,000,000.00")]
    {
        assert_eq!(yuan(fen), text);
    }
    let at = Timestamp::parse_rfc3339("2026-01-02T16:30:05Z").unwrap();
    assert_eq!(beijing(at), "2026-01-03 00:30:05");
    let later = |seconds| at.after(std::time::Duration::from_secs(seconds));
    assert_eq!(relative(at, later(3), Lang::En), "just now");
    assert_eq!(relative(at, later(185), Lang::En), "3 min ago");
    assert_eq!(relative(at, later(185), Lang::Zh), "3 分钟前");
    assert_eq!(relative(later(7200), at, Lang::En), "2 h from now");
    assert_eq!(links::order("main", "A|B*1"), "/console/orders/main/A%7CB*1");
    assert_eq!(links::inside("/console/orders?q=1"), "/console/orders?q=1");
}

/// The first page once nothing of it is missing: on a busy machine a part of it may not be read in time.
async fn whole_overview(stage: &InProcess, browser: &mut Browser) -> String {
    within_timeout("a whole first page", async {
        loop {
            let page = browser.get("/console").await.text();
            if !SILENT.iter().any(|words| page.contains(words)) {
                return page;
            }
            stage.skip(6);
        }
    })
    .await
}

#[tokio::test]
async fn the_overview_counts_the_day_and_held_money_names_its_reason() {
    let stage = TestService::new().config(super::ON).in_process().await;
    let mut browser = Browser::of(&stage, "anna", role("viewer")).await;
    let quiet = whole_overview(&stage, &mut browser).await;
    assert!(quiet.contains("no payment yet") && quiet.contains("Nothing needs a person"), "{quiet}");
    stage.place("PAID0001").await;
    stage.pay("PAID0001").await;
    stage.until_state("PAID0001", "paid").await;
    stage.skip(5);
    let day = whole_overview(&stage, &mut browser).await;
    assert!(day.contains("<strong><span class=\"money\">¥"), "{day}");
    assert!(day.contains("</strong><small>1 payment</small>"), "one payment: {day}");
    assert!(!day.contains("no payment yet"));
    for path in ["/console/held", "/console/refunds", "/console/jobs", "/console/audit", "/console/settings"] {
        assert_eq!(browser.get(path).await.status, 200, "{path}");
    }
    stage.finish().await;
}

#[tokio::test]
async fn hostile_texts_are_shown_as_texts() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("admin")).await;
    browser.headers.push(("user-agent".into(), HOSTILE.into()));
    assert_eq!(browser.log_in("anna", super::PASSWORD).await.status, 303);
    let entry = wxpay_worker::store::AuditEntry {
        at: stage.clock.now(),
        actor: HOSTILE.to_owned(),
        actor_id: None,
        remote_addr: HOSTILE.to_owned(),
        action: "test",
        merchant: None,
        order_no: None,
        transaction_id: None,
        subject: Some(HOSTILE.to_owned()),
        reason: HOSTILE.to_owned(),
        result: HOSTILE.to_owned(),
    };
    stage.store.record_audit(&entry).await.unwrap();
    let escaped = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for path in [
        "/console/audit".to_owned(),
        format!("/console/audit?actor={escaped}&action={escaped}&order_no={escaped}&from={escaped}"),
        format!("/console/held?merchant=&class={escaped}&before={escaped}"),
        format!("/console/login?next={escaped}"),
        format!("/console/invitation/{escaped}"),
        "/console/settings".to_owned(),
    ] {
        let text = browser.get(&path).await.text();
        assert!(!text.contains("<script>alert"), "{path}: {text}");
    }
    assert!(browser.get("/console/audit").await.text().contains("&#60;script&#62;alert(1)&#60;/script&#62;"));
    assert!(browser.get("/console/settings").await.text().contains("&#60;script&#62;alert(1)"), "the browser's name");
    let found = browser.get(&format!("/console/search?q={escaped}")).await;
    assert_eq!(
        (found.status, found.header("location")),
        (303, Some("/console/orders?q=%22%3E%3Cscript%3Ealert%281%29%3C%2Fscript%3E"))
    );
    stage.finish().await;
}

#[tokio::test]
async fn both_languages_and_both_colours_are_kept_by_the_browser() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("viewer")).await;
    assert!(browser.get("/console").await.text().contains("<html lang=\"en\" data-theme=\"auto\">"));
    browser.headers.push(("accept-language".into(), "zh-CN,zh;q=0.9,en;q=0.8".into()));
    assert!(browser.get("/console").await.text().contains("需要处理"));
    for (field, value, shown) in [("lang", "en", "Needs a person"), ("theme", "dark", "data-theme=\"dark\"")] {
        let set = browser.post("/console/preferences", &[(field, value), ("back", "/console")]).await;
        assert_eq!((set.status, set.header("location")), (303, Some("/console")));
        assert!(browser.get("/console").await.text().contains(shown), "{field}");
    }
    let back = browser.post("/console/preferences", &[("lang", "zh"), ("back", "https://evil.example/")]).await;
    assert_eq!(back.header("location"), Some("/console"));
    stage.finish().await;
}

#[tokio::test]
async fn the_console_is_off_unless_it_is_switched_on() {
    let stage = TestService::new().in_process().await;
    let mut browser = Browser::new(&stage);
    assert_eq!(browser.get("/console").await.status, 404);
    assert_eq!(browser.get("/console/login").await.status, 404);
    stage.finish().await;

    let apart = "[console]\nenabled = true\nlisten = \"127.0.0.1:0\"\n";
    let stage = TestService::new().config(apart).in_process().await;
    let elsewhere = Browser::new(&stage).get("/console/login").await;
    assert_eq!(elsewhere.status, 404, "the console has an address of its own");
    stage.finish().await;
}

#[test]
fn an_address_that_is_taken_is_a_problem_and_plain_http_beyond_this_host_a_warning() {
    let read = |text: &str| wxpay_worker::config::Config::from_toml_str(text);
    let warned = |text: &str| {
        let warnings = read(text).unwrap().warnings;
        warnings.iter().any(|warning| warning.key == "console.enabled")
    };
    let open = "[server]\nlisten = \"0.0.0.0:8080\"\n";
    assert!(warned(&format!("{open}[console]\nenabled = true\n")));
    assert!(!warned(&format!("{open}[console]\nenabled = true\nlisten = \"127.0.0.1:8081\"\n")));
    assert!(!warned(&format!("{open}public_url = \"https://pay.example.com\"\n[console]\nenabled = true\n")));
    assert!(!warned(open), "it is off");
    let same = read(&format!("{open}[console]\nenabled = true\nlisten = \"0.0.0.0:8080\"\n")).unwrap_err().to_string();
    assert!(same.contains("console.listen"), "{same}");
}
