use wxpay_worker::clock::Timestamp;
use wxpay_worker::ids::{AppId, MchId, OpenId, OutTradeNo};
use wxpay_worker::money::Fen;
use wxpay_worker::wechat::v2::sign::{sign, string_to_sign};
use wxpay_worker::wechat::v2::unified_order::{Trade, UnifiedOrder, params, problems, write_request};
use wxpay_worker::wechat::v2::{request, xml};

use super::Vector;

fn order(v: &Vector) -> UnifiedOrder {
    let p = v.params();
    UnifiedOrder {
        appid: AppId::parse(&p["appid"]).unwrap(),
        mch_id: MchId::parse(&p["mch_id"]).unwrap(),
        sign_type: v.sign_type(),
        out_trade_no: OutTradeNo::parse(&p["out_trade_no"]).unwrap(),
        total_fee: Fen::parse_field(&p["total_fee"]).unwrap(),
        body: p["body"].clone(),
        spbill_create_ip: p["spbill_create_ip"].parse().unwrap(),
        time_start: Timestamp::parse_beijing(&p["time_start"]).unwrap(),
        time_expire: Timestamp::parse_beijing(&p["time_expire"]).unwrap(),
        notify_url: p["notify_url"].clone(),
        trade: Trade::Jsapi { openid: OpenId::parse(&p["openid"]).unwrap() },
        attach: Some(p["attach"].clone()),
        device_info: Some(p["device_info"].clone()),
    }
}

#[test]
fn every_request_vector_comes_out_byte_for_byte() {
    for v in super::of("v2-request", 3) {
        let nonce = v.params()["nonce_str"].clone();
        let body = match v.name {
            "v2-unifiedorder-request-jsapi-md5" | "v2-unifiedorder-request-jsapi-hmac-sha256" => {
                let order = order(&v);
                assert_eq!(problems(&order), []);
                let mut business = v.params();
                business.remove("nonce_str");
                assert_eq!(params(&order), business, "{}", v.name);
                write_request(&params(&order), &v.key(), nonce)
            }
            // Has no sign_type: MD5 by the protocol's default.
            "v2-sandbox-getsignkey-request" => {
                let mut business = v.params();
                business.remove("nonce_str");
                request::write(&business, &v.key(), nonce)
            }
            name => panic!("no test for {name}"),
        };
        let sent = xml::parse(body.as_bytes()).unwrap();
        assert_eq!(sent["sign"], v.expects("sign"), "{}", v.name);
        assert_eq!(format!("{}&key={}", string_to_sign(&sent), v.input("key")), v.expects("string_to_sign"));
        assert_eq!(sign(&sent, &v.key(), v.sign_type()), v.expects("sign"), "{}", v.name);
        if let Some(example) = v.expected["example_xml"].as_str() {
            assert_eq!(xml::parse(example.as_bytes()).unwrap(), sent, "{}", v.name);
        }
    }
}
