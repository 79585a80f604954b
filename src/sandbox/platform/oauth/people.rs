//! The people of the simulator. A person has another openid under every app; the one at the browser is chosen by the
//! browser's cookie, else by the control API.

use crate::ids::{AppId, OpenId};
use crate::sandbox::ids::default_payer;
use crate::secret::sha256_hex;

/// The cookie that says who sits at a browser: their place in the list.
pub(in crate::sandbox) const COOKIE: &str = "sandbox_user";

/// A person with a WeChat account.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Person {
    pub nickname: String,
    /// Under every app; set by a test that wants a known one.
    pub openid: Option<OpenId>,
    /// The page is shown in snapshot mode to them.
    pub snapshot: bool,
    /// A mini program's login is blocked for them.
    pub risky: bool,
}

pub(in crate::sandbox) struct People {
    list: Vec<Person>,
    /// Who sits at a browser that says nothing of it.
    current: usize,
}

impl Default for People {
    fn default() -> People {
        let person =
            |nickname: &str| Person { nickname: nickname.to_owned(), openid: None, snapshot: false, risky: false };
        People { list: ["小明", "小红", "Ada & Bob", "<测试>"].map(person).into(), current: 0 }
    }
}

impl People {
    /// All people with their number.
    pub fn all(&self) -> impl Iterator<Item = (usize, &Person)> {
        self.list.iter().enumerate()
    }

    /// The person of this number.
    pub fn get(&self, number: usize) -> Option<&Person> {
        self.list.get(number)
    }

    /// The person of this number, to change.
    pub fn get_mut(&mut self, number: usize) -> Option<&mut Person> {
        self.list.get_mut(number)
    }

    /// The number of the person with this openid everywhere, who is made when there is none.
    pub fn with_openid(&mut self, openid: &OpenId) -> usize {
        if let Some(number) = self.list.iter().position(|person| person.openid.as_ref() == Some(openid)) {
            return number;
        }
        let nickname = format!("用户{}", self.list.len());
        self.list.push(Person { nickname, openid: Some(openid.clone()), snapshot: false, risky: false });
        self.list.len() - 1
    }

    /// Sets the person at every browser that names none.
    pub fn seat(&mut self, number: usize) {
        self.current = number;
    }

    /// Who sits at the browser that sends these cookies.
    pub fn at_browser(&self, cookies: Option<&str>) -> usize {
        let named = cookies.into_iter().flat_map(|cookies| cookies.split(';')).find_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == COOKIE).then_some(value)?.parse().ok()
        });
        named.filter(|number| *number < self.list.len()).unwrap_or(self.current)
    }

    /// The openid of a person under an app.
    pub fn openid(&self, number: usize, appid: &str) -> String {
        if let Some(openid) = self.get(number).and_then(|person| person.openid.as_ref()) {
            return openid.as_str().to_owned();
        }
        // The first of them is who pays at the simulator's cashier.
        match AppId::parse(appid).and_then(|appid| default_payer(&appid)) {
            Ok(openid) if number == 0 => openid.as_str().to_owned(),
            Ok(_) | Err(_) => format!("o{}", &sha256_hex(format!("{appid}/{number}").as_bytes())[..27]),
        }
    }
}

/// The virtual account of a snapshot page.
pub(in crate::sandbox) fn virtual_openid(number: usize, appid: &str) -> String {
    format!("o{}", &sha256_hex(format!("snapshot/{appid}/{number}").as_bytes())[..27])
}

/// The same for all apps of one owner.
pub(in crate::sandbox) fn unionid(number: usize) -> String {
    format!("o6_{}", &sha256_hex(format!("union/{number}").as_bytes())[..25])
}
