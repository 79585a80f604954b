//! The pages of the reference: served by the program alone, under a strict policy; and a page for each problem.

use wxpay_worker::http::Error;

use crate::http::client::Reply;
use crate::http::stage::Stage;

async fn get(stage: &Stage, target: &str, headers: &[(&str, &str)]) -> Reply {
    stage.send("GET", target, headers, b"").await
}

#[tokio::test]
async fn the_documentation_is_served_whole_and_loads_nothing_from_elsewhere() {
    let stage = Stage::start().await;
    let page = get(&stage, "/docs", &[]).await;
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
    let text = page.text();
    assert!(!text.contains("http"), "{text}");
    let sources = text.split("src=\"").chain(text.split("rel=\"stylesheet\" href=\"")).skip(1);
    let files: Vec<&str> =
        sources.map(|rest| rest.split('"').next().unwrap()).filter(|s| s.starts_with("docs/")).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let packed = get(&stage, &format!("/{file}"), &[("Accept-Encoding", "br, gzip")]).await;
        let plain = get(&stage, &format!("/{file}"), &[]).await;
        assert_eq!((packed.status, plain.status, plain.header("content-encoding")), (200, 200, None), "{file}");
        assert_eq!(packed.header("x-content-type-options"), Some("nosniff"));
        if file.contains("swagger-ui") {
            assert_eq!(packed.header("content-encoding"), Some("gzip"), "{file}");
            assert!(packed.body.len() < plain.body.len() / 2, "{file}");
        }
        assert!(std::str::from_utf8(&plain.body).is_ok_and(|text| !text.is_empty()), "{file}");
    }
    assert!(get(&stage, "/docs/licences.txt", &[]).await.text().contains("Apache License"));
    let document = get(&stage, "/openapi.json", &[]).await;
    assert_eq!(document.text(), wxpay_worker::reference::openapi_text());
    assert_eq!(get(&stage, "/docs/../problem.rs", &[]).await.status, 404);
    assert_eq!(get(&stage, "/docs/other.js", &[]).await.problem(), "not_found");
    stage.finish().await;
}

#[tokio::test]
async fn what_clients_keep_is_asked_about_each_time_and_sent_again_only_where_it_changed() {
    let stage = Stage::start().await;
    let mut tags = std::collections::BTreeSet::new();
    for target in ["/openapi.json", "/docs", "/docs/docs.js", "/docs/swagger-ui-bundle.js", "/problems/invalid"] {
        for coding in ["identity", "gzip"] {
            let first = get(&stage, target, &[("Accept-Encoding", coding)]).await;
            assert_eq!((first.status, first.header("cache-control")), (200, Some("no-cache")), "{target}");
            let tag = first.header("etag").unwrap().to_owned();
            tags.insert(tag.clone());
            for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
                let again = get(&stage, target, &[("Accept-Encoding", coding), ("If-None-Match", &known)]).await;
                assert_eq!((again.status, again.body.len()), (304, 0), "{target} {known}");
                assert_eq!(again.header("etag"), Some(&*tag), "{target}");
            }
            let other = get(&stage, target, &[("Accept-Encoding", coding), ("If-None-Match", "\"other\"")]).await;
            assert_eq!((other.status, &other.body), (200, &first.body), "{target}");
        }
    }
    // Each file its own, and the bundle one for each of its forms.
    assert_eq!(tags.len(), 6, "{tags:?}");
    stage.finish().await;
}

#[tokio::test]
async fn the_member_docs_of_a_problem_is_a_page_about_it() {
    let stage = Stage::start().await;
    let refusal = get(&stage, "/v1/orders", &[]).await;
    assert_eq!(refusal.problem(), "unauthorized");
    let docs = refusal.json()["docs"].as_str().unwrap().to_owned();
    assert_eq!(docs, "/problems/unauthorized");
    let page = get(&stage, &docs, &[]).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("<code>Authorization: Bearer &lt;key&gt;</code>"), "{}", page.text());
    let list = get(&stage, "/problems", &[]).await.text();
    for slug in Error::SLUGS {
        let page = get(&stage, &format!("/problems/{slug}"), &[]).await;
        let text = page.text();
        assert!(page.status == 200 && text.contains(&format!("<h1>{slug}</h1>")), "{slug}");
        let status = Error::TYPES.iter().find(|(known, _)| known == slug).unwrap().1;
        assert!(text.contains(&format!("<p>{status}")), "{slug} does not begin with {status}: {text}");
        assert!(!text.contains("](") && !text.contains('`'), "{text}");
        assert!(list.contains(&format!("<a href=\"problems/{slug}\">{slug}</a> {status}")), "{slug}");
    }
    for none in ["/problems/no-such", "/problems/%FF", "/docs/%FF"] {
        assert_eq!(get(&stage, none, &[]).await.problem(), "not_found", "{none}");
    }
    stage.finish().await;
}
