//! A user with a session, as its browser.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use wxpay_worker::ids::MerchantKey;
use wxpay_worker::ops::users;
use wxpay_worker::secret::sha256_hex;
use wxpay_worker::store::{Access, Role};

use crate::harness::TEST_TIMEOUT;
use crate::harness::service::InProcess;

/// What the first page says of a part that was not read in time.
pub const SILENT: [&str; 3] = ["Not read just now", "Not known", "does not answer"];

/// What the browser is answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub location: String,
    pub text: String,
    /// What the next page says of it.
    pub said: Vec<String>,
}

impl Answer {
    /// The page without tags and with single blanks.
    pub fn words(&self) -> String {
        let mut words = String::new();
        let mut inside = false;
        for c in self.text.chars() {
            match c {
                '<' => inside = true,
                '>' => {
                    inside = false;
                    words.push(' ');
                }
                c if !inside => words.push(c),
                _ => {}
            }
        }
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub fn shows(&self, text: &str) {
        assert!(self.words().contains(text), "no {text:?} in {}", self.words());
    }

    pub fn hides(&self, text: &str) {
        assert!(!self.text.contains(text), "{text:?} in {}", self.words());
    }

    /// The address of the link that is called so.
    pub fn link(&self, words: &str) -> String {
        let at =
            self.text.find(&format!(">{words}</a>")).unwrap_or_else(|| panic!("no link {words}: {}", self.words()));
        let before = &self.text[..at];
        let href = before.rsplit_once("href=\"").unwrap().1;
        href.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
    }
}

pub struct User {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl User {
    /// Of this role, who sees these merchants alone, where any are named.
    pub async fn log_in(service: &InProcess, role: Role, merchants: Option<&[&str]>) -> User {
        let merchants = merchants.map(|keys| keys.iter().map(|key| MerchantKey::parse(*key).unwrap()).collect());
        let (now, name) = (service.clock.now(), format!("{}-{}", role.as_str(), merchants.is_some()));
        let (operator, access) = (users::local_operator(), Access::of(role, merchants));
        let invited = users::invite(&service.store, &operator, None, (&name, access), now).await.unwrap();
        let hash = sha256_hex(invited.token.as_bytes());
        let client = (name.as_str(), "127.0.0.1");
        assert!(users::use_invitation(&service.store, &hash, "not compared here", client, now).await.unwrap());
        let login = service.store.console_login(&name).await.unwrap().unwrap();
        let life = Duration::from_secs(3600);
        let token = users::log_in(&service.store, &login, ("127.0.0.1", "test"), life, now).await.unwrap().unwrap();
        let http = crate::harness::requests::plain_http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        User { http, base: service.base.clone(), token }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.base)), "en").await
    }

    pub async fn get_in_chinese(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.base)), "zh").await
    }

    /// A page, which is there and is small.
    pub async fn page(&self, path: &str) -> Answer {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.words());
        assert!(answer.text.len() < 100_000, "{path} has {} bytes", answer.text.len());
        answer
    }

    /// The first page once nothing of it is missing: on a busy machine a part of it may not be read in time.
    pub async fn whole_overview(&self, service: &InProcess) -> Answer {
        self.overview_where(service, |page| !SILENT.iter().any(|words| page.text.contains(words))).await
    }

    /// The first page once it shows all of this.
    pub async fn overview_with(&self, service: &InProcess, texts: &[&str]) -> Answer {
        let page = self
            .overview_where(service, |page| {
                let words = page.words();
                texts.iter().all(|text| words.contains(text))
            })
            .await;
        texts.iter().for_each(|text| page.shows(text));
        page
    }

    /// The first page, again and again until it is as wanted, or for too long.
    async fn overview_where(&self, service: &InProcess, is: impl Fn(&Answer) -> bool) -> Answer {
        let started = Instant::now();
        loop {
            let page = self.page("/console").await;
            if is(&page) || started.elapsed() >= TEST_TIMEOUT {
                return page;
            }
            // What was read serves all who ask within five seconds.
            service.skip(6);
        }
    }

    /// A form of a page of this session.
    pub async fn submit(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let csrf = sha256_hex(format!("csrf:{}", self.token).as_bytes());
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf.as_str())]).collect();
        self.submit_without_token(path, &fields).await
    }

    pub async fn submit_without_token(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(format!("{}{path}", self.base)).header("origin", &self.base);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form);
        self.send(request, "en").await
    }

    async fn send(&self, request: reqwest::RequestBuilder, lang: &str) -> Answer {
        let cookie = format!("wxpay_console_local={}; wxpay_console_lang_local={lang}", self.token);
        let response = request.header(COOKIE, cookie).send().await.unwrap();
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        let cookies = response.headers().get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap());
        let said = cookies.filter_map(|line| line.split_once("flash")?.1.split_once('=')?.1.split(';').next());
        let said = said.map(|text| String::from_utf8(URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()).collect();
        Answer {
            said,
            status: response.status().as_u16(),
            location: location.unwrap_or_default(),
            text: response.text().await.unwrap(),
        }
    }

    /// What a stream sends until it ends.
    pub async fn stream(&self, path: &str) -> String {
        self.send(self.http.get(format!("{}{path}", self.base)), "en").await.text
    }
}
