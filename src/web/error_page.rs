//! A refusal for people: routes that a browser is sent to answer with a page, not with JSON on a white screen.
//!
//! No script, no link but the one that begins again, nothing from the request: the page cannot be made to say anything.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use url::form_urlencoded;

use super::envelope::Failure;
use crate::http::extract::request_id::request_id;

/// Where a person may begin again.
#[derive(Debug, Clone, Default)]
pub struct Again(Option<String>);

impl Again {
    /// At the beginning of the login for this page, which is on the allow-list. `prefix` is the path under which
    /// browsers see this service.
    pub fn login(prefix: &str, callback: &str, scope: &str, app: &str) -> Again {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("callback", callback)
            .append_pair("scope", scope)
            .append_pair("app", app)
            .finish();
        Again(Some(format!("{prefix}/api/wechat/redirect?{query}")))
    }

    /// At one of our own pages.
    pub fn page(page: Option<&str>) -> Again {
        Again(page.map(str::to_owned))
    }
}

/// The failure as this client reads it: a page for a browser that navigates, the envelope for all other clients.
pub fn answer(headers: &HeaderMap, failure: Failure, again: &Again) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if !accepts.into_iter().any(|value| value.contains("text/html")) {
        return failure.into_response();
    }
    failure.log();
    let link = match &again.0 {
        Some(target) => format!("<p><a href=\"{}\">重新进入</a></p>", escaped(target)),
        None => String::new(),
    };
    let message = failure.reason.message();
    let html = format!(
        "<!doctype html>\n<html lang=\"zh-CN\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{message}</title>\
         <style>{STYLE}</style></head><body><main><h1>{message}</h1>{link}\
         <p><small>编号 {}</small></p></main></body></html>\n",
        request_id()
    );
    let mut response = (failure.reason.status(), Html(html)).into_response();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    failure.headers(&mut response);
    response
}

const STYLE: &str = "\
    :root{color-scheme:light dark}\
    body{margin:0;font:1rem/1.6 system-ui,sans-serif;color:#191919;background:#ededed}\
    main{max-width:28rem;margin:0 auto;padding:4rem 1.5rem;text-align:center}\
    h1{font-size:1.25rem}\
    a{display:inline-block;min-height:2.75rem;padding:0 2rem;line-height:2.75rem;border-radius:.5rem;\
    color:#fff;background:#067a41;font-weight:600;text-decoration:none}\
    small{color:#5c5c5c;overflow-wrap:anywhere}\
    @media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#111}a{color:#06210f;background:#3fc67c}\
    small{color:#ababab}}";

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
