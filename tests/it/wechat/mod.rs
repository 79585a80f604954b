//! The codec and the client beyond the published vectors: hostile input, every branch of the outcome table, the calls
//! against a server that misbehaves.

mod bills;
mod calls;
pub mod certificates;
mod coupons;
mod hostile_xml;
mod http;
mod notifications;
mod numbers;
mod outcomes;
mod platform;
mod refund_currency;
mod refund_lists;
mod requests;
mod retries;
pub mod server;
mod unsigned_words;

use wxpay_worker::config::{Merchant, Wechat};
use wxpay_worker::ids::{AppId, AppKey, MchId, MerchantKey, OutTradeNo};
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;
use wxpay_worker::wechat::v2::xml::Fields;

use crate::harness::TEST_TIMEOUT;

pub fn key(text: &str) -> V2Key {
    V2Key::parse(text).unwrap()
}

pub fn our_key() -> V2Key {
    key("k7Qm2Zt9Xb4Lw8Rd6Vn1Hs3Jp5Gy0CfA")
}

pub fn app_id() -> AppId {
    AppId::parse("wx8888888888888888").unwrap()
}

pub fn out_trade_no(text: &str) -> OutTradeNo {
    OutTradeNo::parse(text).unwrap()
}

pub fn merchant(key: &V2Key) -> Merchant {
    merchant_of("1900000109", key)
}

pub fn merchant_of(mch_id: &str, key: &V2Key) -> Merchant {
    Merchant {
        key: MerchantKey::parse("main").unwrap(),
        mch_id: MchId::parse(mch_id).unwrap(),
        apps: vec![AppKey::parse("shop").unwrap()],
        sign_type: SignType::HmacSha256,
        v2_key: key.clone(),
        v2_key_previous: None,
        policy: wxpay_worker::order::Policy::default(),
        settling: wxpay_worker::config::Settling::default(),
        second_person: None,
        orders_per_second: 500,
        queries_per_second: 300,
        refunds_per_second: 150,
        foreign: Vec::new(),
        client_cert_file: None,
        client_key_file: None,
    }
}

pub fn fields<const N: usize>(pairs: [(&str, &str); N]) -> Fields {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// A reply or notification as WeChat signs it for our merchant and app, with these elements.
pub fn signed<const N: usize>(pairs: [(&str, &str); N]) -> String {
    signed_list(pairs)
}

/// As [`signed`], of however many elements.
pub fn signed_list<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut message = fields([
        ("return_code", "SUCCESS"),
        ("appid", "wx8888888888888888"),
        ("mch_id", "1900000109"),
        ("nonce_str", "IITRi8Iabbblz1Jc"),
    ]);
    message.extend(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    xml::write(&seal(message, &our_key(), SignType::HmacSha256))
}

pub fn wechat(main: &str, backup: &str) -> Wechat {
    Wechat {
        sandbox_url: None,
        pay_url: main.to_owned(),
        pay_backup_url: backup.to_owned(),
        api_url: main.to_owned(),
        open_url: main.to_owned(),
        refund_url: None,
        pay_ca_file: None,
        connect_timeout: TEST_TIMEOUT,
        timeout: TEST_TIMEOUT,
    }
}
