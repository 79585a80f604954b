//! Who called what, how often, and with what end: so that a test can say "one refresh, and no dead token was used".

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::api::Api;
use super::token_store::Dead;

#[derive(Default)]
struct Count {
    arrived: u64,
    answered: BTreeMap<i64, u64>,
}

#[derive(Default)]
pub(in crate::sandbox) struct Calls {
    /// By API and appid; an empty appid where none of ours was named.
    by_api: BTreeMap<(Api, String), Count>,
    dead: BTreeMap<(String, &'static str), u64>,
}

impl Calls {
    /// A request came in, whatever becomes of its answer.
    pub fn arrived(&mut self, api: Api, appid: &str) {
        self.count(api, appid).arrived += 1;
    }

    /// It was executed or refused; 0 is success.
    pub fn answered(&mut self, api: Api, appid: &str, errcode: i64) {
        *self.count(api, appid).answered.entry(errcode).or_default() += 1;
    }

    /// A call used an invalid access_token.
    pub fn dead_token(&mut self, appid: &str, why: Dead) {
        let why = match why {
            Dead::Malformed => "malformed",
            Dead::Unknown => "unknown",
            Dead::Expired => "expired",
            Dead::Replaced => "replaced",
        };
        *self.dead.entry((appid.to_owned(), why)).or_default() += 1;
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        *self = Calls::default();
    }

    /// As the control API shows it.
    pub fn view(&self) -> Value {
        let calls: Vec<Value> = self
            .by_api
            .iter()
            .map(|((api, appid), count)| {
                let answers: BTreeMap<String, u64> = count.answered.iter().map(|(c, n)| (c.to_string(), *n)).collect();
                json!({"api": api, "appid": appid, "count": count.arrived, "answers": answers})
            })
            .collect();
        let dead: Vec<Value> =
            self.dead.iter().map(|((appid, why), count)| json!({"appid": appid, "why": why, "count": count})).collect();
        json!({"calls": calls, "dead_token_uses": dead})
    }

    fn count(&mut self, api: Api, appid: &str) -> &mut Count {
        self.by_api.entry((api, appid.to_owned())).or_default()
    }
}
