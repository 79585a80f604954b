use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::Prepay;
use wxpay_worker::ids::{MchId, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::trade::{SignType, TradeType};
use wxpay_worker::wechat::v2::pay_params::{NoAddress, for_client};
use wxpay_worker::wechat::v2::refund;
use wxpay_worker::wechat::v2::refund::{OutRefundNo, RefundOrder};
use wxpay_worker::wechat::v2::refund_query;
use wxpay_worker::wechat::v2::refund_query::Which;
use wxpay_worker::wechat::v2::unified_order::{Trade, UnifiedOrder, params, problems, write_request};
use wxpay_worker::wechat::v2::xml;

use super::{app_id, merchant, our_key, out_trade_no};

pub fn native_order() -> UnifiedOrder {
    UnifiedOrder {
        appid: app_id(),
        mch_id: MchId::parse("1900000109").unwrap(),
        sign_type: SignType::HmacSha256,
        out_trade_no: out_trade_no("T20250102"),
        total_fee: Fen::order_amount(88).unwrap(),
        body: "QQ公仔 ]]> <b>".into(),
        spbill_create_ip: "::ffff:123.12.12.123".parse().unwrap(),
        time_start: Timestamp::parse_rfc3339("2025-01-02T03:04:05Z").unwrap(),
        time_expire: Timestamp::parse_rfc3339("2025-01-02T05:04:05Z").unwrap(),
        notify_url: "https://pay.example.com/notify/main/pay".into(),
        trade: Trade::Native { product_id: "12235413214070356458058".into() },
        attach: None,
        device_info: None,
    }
}

pub fn refund_order() -> RefundOrder {
    RefundOrder {
        appid: app_id(),
        mch_id: MchId::parse("1900000109").unwrap(),
        sign_type: SignType::HmacSha256,
        transaction_id: TransactionId::parse("1008450740201411110005820873").unwrap(),
        out_refund_no: OutRefundNo::parse("R2025").unwrap(),
        total_fee: Fen::order_amount(100).unwrap(),
        refund_fee: Fen::order_amount(30).unwrap(),
        refund_fee_type: None,
        refund_desc: Some("退货".into()),
        notify_url: None,
    }
}

#[test]
fn each_trade_type_carries_its_own_parameter_and_no_other() {
    let names = |trade: Trade| {
        let trade_type = trade.trade_type();
        let fields = params(&UnifiedOrder { trade, ..native_order() });
        assert_eq!(fields["trade_type"], trade_type.as_str());
        ["openid", "product_id", "scene_info"].into_iter().filter(|n| fields.contains_key(*n)).collect::<Vec<_>>()
    };
    let openid = wxpay_worker::ids::OpenId::parse("oUpF8uMuAJO_M2pxb1Q9zNjWeS6o").unwrap();
    assert_eq!(names(Trade::Jsapi { openid }), ["openid"]);
    assert_eq!(names(Trade::Native { product_id: "1".into() }), ["product_id"]);
    assert_eq!(names(Trade::App), [""; 0]);
    assert_eq!(names(Trade::Mweb { scene_info: "{}".into() }), ["scene_info"]);
}

#[test]
fn an_order_is_written_in_beijing_time_with_the_payers_own_address() {
    let fields = params(&native_order());
    assert_eq!(fields["time_start"], "20250102110405");
    assert_eq!(fields["time_expire"], "20250102130405");
    assert_eq!(fields["spbill_create_ip"], "123.12.12.123", "an IPv4 address in IPv6 clothing is unwrapped");
    assert!(!fields.contains_key("attach") && !fields.contains_key("device_info"), "no empty elements");
    let sent = xml::parse(write_request(&fields, &our_key(), "n".into()).as_bytes()).unwrap();
    assert_eq!(sent["body"], "QQ公仔 ]]> <b>", "a text that ends CDATA arrives whole");
}

#[test]
fn every_text_that_wechat_would_refuse_is_named_at_once() {
    assert_eq!(problems(&native_order()), []);
    let longest = UnifiedOrder { body: "x".repeat(127), attach: Some("x".repeat(127)), ..native_order() };
    assert_eq!(problems(&longest), []);
    let broken = UnifiedOrder {
        // 43 characters, 129 bytes: the limit counts bytes.
        body: "中".repeat(43),
        attach: Some("a\u{0}".into()),
        device_info: Some("line\r\n".into()),
        notify_url: String::new(),
        trade: Trade::Native { product_id: "x".repeat(33) },
        ..native_order()
    };
    let found: Vec<_> = problems(&broken).iter().map(|p| p.what).collect();
    assert_eq!(found, ["body", "notify_url", "attach", "device_info", "product_id"]);
    let scene = UnifiedOrder { trade: Trade::Mweb { scene_info: "x".repeat(257) }, ..native_order() };
    assert_eq!(problems(&scene).iter().map(|p| p.what).collect::<Vec<_>>(), ["scene_info"]);
}

#[test]
fn a_refund_names_the_payment_and_both_amounts() {
    let fields = refund::params(&refund_order());
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["appid", "mch_id", "out_refund_no", "refund_desc", "refund_fee", "sign_type", "total_fee", "transaction_id"]
    );
    assert_eq!((fields["total_fee"].as_str(), fields["refund_fee"].as_str()), ("100", "30"));
    for bad in ["", "a b", "a/b", "退", &"x".repeat(65)] {
        assert!(OutRefundNo::parse(bad).is_err(), "{bad}");
    }
    assert!(OutRefundNo::parse("x".repeat(64)).is_ok());
}

#[test]
fn a_refund_query_names_one_key_and_an_offset_only_beyond_the_first_page() {
    let sent = |which| {
        let body = refund_query::write_request(&merchant(&our_key()), &app_id(), &which, "n".into());
        let mut fields = xml::parse(body.as_bytes()).unwrap();
        for common in ["appid", "mch_id", "nonce_str", "sign", "sign_type"] {
            fields.remove(common).unwrap();
        }
        fields.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>()
    };
    assert_eq!(sent(Which::Refund(OutRefundNo::parse("R2025").unwrap())), ["out_refund_no=R2025"]);
    assert_eq!(sent(Which::Attempt(out_trade_no("T20250102"), 0)), ["out_trade_no=T20250102"]);
    let id = TransactionId::parse("1008").unwrap();
    assert_eq!(sent(Which::Payment(id, 10)), ["offset=10", "transaction_id=1008"]);
}

#[test]
fn pages_and_scanners_get_the_address_and_nothing_else() {
    let prepay = |code_url: Option<&str>, mweb_url: Option<&str>| Prepay {
        prepay_id: "wx1".into(),
        code_url: code_url.map(str::to_owned),
        mweb_url: mweb_url.map(str::to_owned),
        issued_at: Timestamp::from_ms(0),
    };
    let build = |trade_type, prepay: Prepay| {
        let (app, mch_id) = (app_id(), MchId::parse("1900000109").unwrap());
        let (sign_type, now) = (SignType::HmacSha256, Timestamp::from_ms(0));
        for_client(trade_type, &app, &mch_id, &prepay, &our_key(), sign_type, now, "n".into())
            .map(|map| serde_json::Value::from(map).to_string())
    };
    assert_eq!(build(TradeType::Native, prepay(Some("weixin://1"), None)).unwrap(), r#"{"code_url":"weixin://1"}"#);
    assert_eq!(build(TradeType::Mweb, prepay(None, Some("https://m"))).unwrap(), r#"{"mweb_url":"https://m"}"#);
    assert_eq!(build(TradeType::Native, prepay(None, None)), Err(NoAddress { field: "code_url" }));
    assert_eq!(build(TradeType::Mweb, prepay(None, None)), Err(NoAddress { field: "mweb_url" }));
}
