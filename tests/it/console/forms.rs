//! Forms: none from another site, none without the session's token, and the headers of every answer.

use super::{Browser, role, service};

const END: &str = "/console/settings/sessions/999/end";

#[tokio::test]
async fn a_form_needs_the_token_of_its_own_session() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("admin")).await;
    let mut other = Browser::of(&stage, "otto", role("admin")).await;
    let (own, foreign) = (browser.csrf().await, other.csrf().await);
    assert_ne!(own, foreign);
    for fields in [vec![], vec![("csrf", "")], vec![("csrf", foreign.as_str())], vec![("csrf", &own[..63])]] {
        let refused = browser.post(END, &fields).await;
        assert_eq!(refused.status, 403, "{fields:?}");
        assert!(refused.text().contains("This form is no longer valid"), "{}", refused.text());
    }
    assert_eq!(browser.post(END, &[("csrf", &own)]).await.status, 303);
    stage.finish().await;
}

#[tokio::test]
async fn a_form_of_another_site_is_refused_before_anything_else() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("admin")).await;
    let (csrf, here) = (browser.csrf().await, browser.origin.clone());
    let posts = [END, "/console/login", "/console/preferences", "/console/logout", "/console/invitation/x"];
    for (origin, site) in [
        (Some("https://evil.example".to_owned()), Some("cross-site")),
        (Some("https://evil.example".to_owned()), None),
        (Some("null".to_owned()), None),
        (here.clone(), Some("cross-site")),
        (here.clone(), Some("same-site")),
        (Some(format!("{}0", here.clone().unwrap())), Some("same-origin")),
        (None, None),
    ] {
        (browser.origin, browser.site) = (origin.clone(), site);
        for path in posts {
            let fields = [("csrf", csrf.as_str()), ("lang", "zh"), ("name", "anna"), ("password", super::PASSWORD)];
            let reply = browser.post(path, &fields).await;
            assert_eq!(reply.status, 403, "{path} {origin:?} {site:?}");
            assert!(!reply.head.contains("set-cookie"), "{path} {origin:?} {site:?}");
        }
    }
    (browser.origin, browser.site) = (here, None);
    assert_eq!(browser.get("/console").await.status, 200, "the session goes on");
    assert_eq!(browser.post("/console/preferences", &[("lang", "zh"), ("back", "/console/jobs")]).await.status, 303);
    stage.finish().await;
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it_and_assets_are_kept() {
    let stage = service().await;
    let mut browser = Browser::of(&stage, "anna", role("admin")).await;
    let page = browser.get("/console").await;
    let styles = page.text();
    let asset = |kind: &str| {
        let end = styles.find(&format!(".{kind}\"")).unwrap() + kind.len() + 1;
        styles[..end].rsplit('"').next().unwrap().to_owned()
    };
    let (css, js, icon) = (asset("css"), asset("js"), asset("svg"));
    for (path, status, cache) in [
        ("/console", 200, "no-store"),
        ("/console/settings", 200, "no-store"),
        ("/console/nothing", 404, "no-store"),
        ("/console/invitation/unknown", 410, "no-store"),
        (css.as_str(), 200, "public, max-age=31536000, immutable"),
        (js.as_str(), 200, "public, max-age=31536000, immutable"),
        (icon.as_str(), 200, "public, max-age=31536000, immutable"),
        ("/console/assets/console.css", 404, "no-store"),
    ] {
        let reply = browser.get(path).await;
        assert_eq!((reply.status, reply.header("cache-control")), (status, Some(cache)), "{path}");
        assert_eq!(
            reply.header("content-security-policy"),
            Some("default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
            "{path}"
        );
        let headers =
            ["x-content-type-options", "referrer-policy", "x-frame-options"].map(|name| reply.header(name).unwrap());
        assert_eq!(headers, ["nosniff", "same-origin", "DENY"], "{path}");
        let text = reply.text();
        if reply.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            for inline in [" style=", " onclick=", " onload=", "<style", "javascript:", "<script>"] {
                assert!(!text.contains(inline), "{path} has {inline}");
            }
        }
    }
    let hidden = Browser::new(&stage).get("/console/nothing").await;
    assert!(hidden.text().contains(hidden.header("x-request-id").unwrap()), "an error names its request");
    stage.finish().await;
}
