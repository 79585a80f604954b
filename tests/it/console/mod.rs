//! The operators' console over HTTP: sessions, forms, rights, headers, and what its pages show.

mod forms;
mod guards;
mod login;
mod pages;
mod users;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use url::form_urlencoded;
use wxpay_worker::ops;
use wxpay_worker::store::Access;

use crate::harness::service::{InProcess, TestService};
use crate::http::client::{Reply, raw};

const PASSWORD: &str = "correct horse battery";
const ON: &str = "[console]\nenabled = true\n";

async fn service() -> InProcess {
    TestService::new().config(ON).in_process().await
}

fn role(name: &str) -> Access {
    Access::of(wxpay_worker::store::Role::parse(name).unwrap(), None)
}

/// A browser at the console. It keeps cookies and follows nothing by itself.
#[derive(Clone)]
struct Browser {
    address: SocketAddr,
    host: String,
    cookies: BTreeMap<String, String>,
    /// Sent with every request.
    headers: Vec<(String, String)>,
    /// What it says of where a form comes from.
    origin: Option<String>,
    site: Option<&'static str>,
}

impl Browser {
    fn new(stage: &InProcess) -> Browser {
        let host = stage.base.trim_start_matches("http://").to_owned();
        let (address, origin) = (host.parse().unwrap(), Some(stage.base.clone()));
        let site = Some("same-origin");
        Browser { address, host, cookies: BTreeMap::new(), headers: Vec::new(), origin, site }
    }

    /// Of a user with this access, signed in.
    async fn of(stage: &InProcess, name: &str, access: Access) -> Browser {
        let mut browser = Browser::new(stage);
        let token = invite(stage, name, access).await;
        let set = browser.post(&format!("/console/invitation/{token}"), &new_password()).await;
        assert_eq!((set.status, set.header("location")), (303, Some("/console/login")), "{}", set.text());
        assert_eq!(browser.log_in(name, PASSWORD).await.status, 303);
        browser
    }

    async fn log_in(&mut self, name: &str, password: &str) -> Reply {
        self.post("/console/login", &[("name", name), ("password", password), ("next", "/console")]).await
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, Vec::new(), "").await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let media = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        let origin = self.origin.clone().map(|origin| ("origin".to_owned(), origin));
        let site = self.site.map(|site| ("sec-fetch-site".to_owned(), site.to_owned()));
        let headers = [Some(media), origin, site].into_iter().flatten().collect();
        self.send("POST", path, headers, &body).await
    }

    /// Posts a form as a page of the session holds it.
    async fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let csrf = self.csrf().await;
        let all: Vec<(&str, &str)> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.post(path, &all).await
    }

    async fn csrf(&mut self) -> String {
        let page = self.get("/console/settings").await.text();
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("no form in {page}"));
        rest.split('"').next().unwrap().to_owned()
    }

    async fn send(&mut self, method: &str, path: &str, headers: Vec<(String, String)>, body: &str) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host);
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for (name, value) in self.headers.iter().cloned().chain(headers).chain([("cookie".into(), cookies.join("; "))])
        {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let reply = Reply::parse(&raw(self.address, request.as_bytes()).await);
        for line in reply.head.lines().filter_map(|line| line.strip_prefix("set-cookie: ")) {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }
}

fn new_password() -> [(&'static str, &'static str); 2] {
    [("password", PASSWORD), ("repeated", PASSWORD)]
}

async fn invite(stage: &InProcess, name: &str, access: Access) -> String {
    let (operator, now) = (ops::users::local_operator(), stage.clock.now());
    ops::users::invite(&stage.store, &operator, None, (name, access), now).await.unwrap().token
}

/// The rows of the audit with this action, the latest first: who, from where, about what, with which result.
async fn audited(stage: &InProcess, action: &str) -> Vec<[String; 4]> {
    let filter = wxpay_worker::store::AuditFilter { action: Some(action.to_owned()), ..Default::default() };
    let rows = stage.store.audit(&filter, 100).await.unwrap().rows;
    rows.into_iter().map(|row| [row.actor, row.remote_addr, row.subject.unwrap_or_default(), row.result]).collect()
}
