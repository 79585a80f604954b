use serde_json::{Map, Value, json};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::Prepay;
use wxpay_worker::ids::{AppId, MchId};
use wxpay_worker::trade::TradeType;
use wxpay_worker::wechat::v2::pay_params::{for_client, mweb_redirect};

use super::Vector;

fn build(v: &Vector, trade_type: TradeType, names: [&str; 4], mch_id: &str) -> Map<String, Value> {
    let params = v.params();
    let [appid, prepay, nonce, time] = names.map(|name| params[name].clone());
    let prepay = Prepay {
        prepay_id: prepay.trim_start_matches("prepay_id=").to_owned(),
        code_url: None,
        mweb_url: None,
        issued_at: Timestamp::from_ms(0),
    };
    let now = Timestamp::from_ms(time.parse::<i64>().unwrap() * 1000 + 999);
    let (appid, mch_id) = (AppId::parse(appid).unwrap(), MchId::parse(mch_id).unwrap());
    for_client(trade_type, &appid, &mch_id, &prepay, &v.key(), v.sign_type(), now, nonce).unwrap()
}

fn jsapi(v: &Vector) {
    let built = build(v, TradeType::Jsapi, ["appId", "package", "nonceStr", "timeStamp"], "1900000109");
    assert_eq!(built["paySign"], v.expects("paySign"), "{}", v.name);
    assert!(built.values().all(Value::is_string), "{}: every value is a string", v.name);
    let mut whole = v.inputs["params"].as_object().unwrap().clone();
    whole.insert("paySign".into(), v.expects("paySign").into());
    whole.insert("timestamp".into(), whole["timeStamp"].clone());
    assert_eq!(built, whole, "{}", v.name);
    // Each of the three ways to call reads a part of the same object.
    for call in ["bridge_call", "chooseWXPay_call", "requestPayment_call"] {
        for (name, value) in v.expected[call].as_object().into_iter().flatten() {
            assert_eq!(&built[name], value, "{}: {call}.{name}", v.name);
        }
    }
}

fn app(v: &Vector) {
    let built = build(v, TradeType::App, ["appid", "prepayid", "noncestr", "timestamp"], &v.params()["partnerid"]);
    let mut whole = v.inputs["params"].as_object().unwrap().clone();
    whole.insert("sign".into(), json!(v.expects("sign")));
    assert_eq!(built, whole, "{}", v.name);
}

#[test]
fn every_frontend_vector_comes_out_byte_for_byte() {
    for v in super::of("v2-frontend", 9) {
        match v.name {
            name if name.starts_with("v2-jsapi-paysign-") => jsapi(&v),
            name if name.starts_with("v2-app-sign-") => app(&v),
            name if name.starts_with("v2-mweb-redirect-") => {
                assert_eq!(mweb_redirect(v.input("mweb_url"), v.input("redirect_url")), v.expects("url"), "{name}");
            }
            name => panic!("no test for {name}"),
        }
    }
}
