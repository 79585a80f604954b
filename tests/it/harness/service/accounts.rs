//! Merchants, apps and keys that the service and the simulator share.

use serde_json::{Value, json};
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::sandbox::{Account, PlatformApp, PlatformKind};
use wxpay_worker::secret::{Secret, V2Key};
use wxpay_worker::trade::SignType;
use wxpay_worker::wechat::v2::sign::seal;
use wxpay_worker::wechat::v2::xml;

pub const API_KEY: &str = "test-api-key";
pub const KEY: &str = "k7Qm2Zt9Xb4Lw8Rd6Vn1Hs3Jp5Gy0CfA";
pub const OTHER_KEY: &str = "Zq8Wn3Rt6Yb1Mc5Xv9Kd2Lf7Hg4Js0Pa";
pub const MCH_ID: &str = "1900000109";
pub const OTHER_MCH_ID: &str = "1900000110";
pub const APP_ID: &str = "wx8888888888888888";
pub const APP_SECRET: &str = "s3cr3tOfTheShopApp4Flows0123456x";
pub const MINI_APP_ID: &str = "wx7777777777777777";
pub const MINI_SECRET: &str = "s3cr3tOfTheMiniApp4Flows0123456x";
pub const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

/// Another merchant of the same app, at [`OTHER_MCH_ID`].
pub const SECOND_MERCHANT: &str = r#"
[[merchants]]
key = "second"
mch_id = "1900000110"
apps = ["shop"]
api = "v2"
sign_type = "MD5"
v2_key = "Zq8Wn3Rt6Yb1Mc5Xv9Kd2Lf7Hg4Js0Pa"
"#;

pub const MINI_PROGRAM: &str = r#"
[[apps]]
key = "mini"
app_id = "wx7777777777777777"
kind = "mini_program"
secret = "s3cr3tOfTheMiniApp4Flows0123456x"
"#;

pub fn account(mch_id: &str, key: &str) -> Account {
    Account {
        mch_id: MchId::parse(mch_id).unwrap(),
        v2_key: V2Key::parse(key).unwrap(),
        appids: [APP_ID, MINI_APP_ID].map(|appid| AppId::parse(appid).unwrap()).into(),
    }
}

pub fn app(kind: PlatformKind, appid: &str, secret: &str) -> PlatformApp {
    PlatformApp::new(kind, AppId::parse(appid).unwrap(), Secret::new(secret))
}

/// A JSAPI order for the first merchant.
pub fn jsapi(order_no: &str, amount_fen: i64) -> Value {
    json!({
        "order_no": order_no, "merchant": "main", "app": "shop", "amount_fen": amount_fen, "description": "测试商品",
        "trade_type": "JSAPI", "openid": OPENID, "client_ip": "127.0.0.1",
    })
}

/// A business refusal that WeChat signs.
pub fn signed_refusal(code: &str, words: &str) -> String {
    signed_refusal_through(APP_ID, code, words)
}

/// The same of a call through this app.
pub fn signed_refusal_through(appid: &str, code: &str, words: &str) -> String {
    let pairs = [
        ("return_code", "SUCCESS"),
        ("appid", appid),
        ("mch_id", MCH_ID),
        ("nonce_str", "5K8264ILTKCH16CQ"),
        ("result_code", "FAIL"),
        ("err_code", code),
        ("err_code_des", words),
    ];
    let fields = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    xml::write(&seal(fields, &V2Key::parse(KEY).unwrap(), SignType::HmacSha256))
}
