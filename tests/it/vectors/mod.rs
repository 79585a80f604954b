//! The published vectors of `tests/vectors.json`, each against the production code. Every category says how many it
//! has, so that a vector cannot get lost between the file and the tests.

mod bill;
mod frontend;
mod jssdk;
mod money_time_numbers;
mod notify;
mod oauth;
mod platform;
mod refund_notify;
mod request;
mod response;
mod sign;
mod xml;

use std::sync::LazyLock;

use serde_json::Value;
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::xml::Fields;

/// One vector.
pub struct Vector {
    pub name: &'static str,
    pub inputs: &'static Value,
    pub expected: &'static Value,
}

static FILE: LazyLock<Value> = LazyLock::new(|| serde_json::from_str(include_str!("../../vectors.json")).unwrap());

/// The vectors of a category, which must be this many.
pub fn of(category: &str, count: usize) -> Vec<Vector> {
    let vectors: Vec<Vector> = FILE["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["category"] == category)
        .map(|v| Vector { name: v["name"].as_str().unwrap(), inputs: &v["inputs"], expected: &v["expected"] })
        .collect();
    assert_eq!(vectors.len(), count, "vectors of category {category}");
    vectors
}

impl Vector {
    pub fn input(&self, name: &str) -> &'static str {
        self.inputs[name].as_str().unwrap_or_else(|| panic!("{}: input {name}", self.name))
    }

    pub fn expects(&self, name: &str) -> &'static str {
        self.expected[name].as_str().unwrap_or_else(|| panic!("{}: expected {name}", self.name))
    }

    pub fn is_rejected(&self) -> bool {
        self.expected["rejected"] == true
    }

    pub fn params(&self) -> Fields {
        fields(&self.inputs["params"])
    }

    pub fn key(&self) -> V2Key {
        V2Key::parse(self.input("key")).unwrap()
    }

    pub fn sign_type(&self) -> SignType {
        SignType::parse(self.input("sign_type")).unwrap()
    }
}

/// A JSON object of texts as message elements.
pub fn fields(object: &Value) -> Fields {
    object.as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
}

/// Categories beside those of API v2.
const TESTED: [&str; 7] = ["amount", "bill", "time", "order-number", "jssdk", "oauth", "platform"];

#[test]
fn the_file_holds_as_many_vectors_as_it_says() {
    let count = FILE["meta"]["count"].as_u64().unwrap();
    assert_eq!(FILE["vectors"].as_array().unwrap().len() as u64, count);
    let tested: Vec<&str> = FILE["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|v| v["category"].as_str())
        .filter(|c| c.starts_with("v2-") || TESTED.contains(c))
        .collect();
    // The sum of the counts in the files beside this one: a new category would be noticed here.
    assert_eq!(tested.len(), 5 + 9 + 3 + 26 + 12 + 18 + 7 + 15 + 7 + 11 + 5 + 9 + 14 + 16);
}
