//! Parse, verify and decide a payment notification: all of the work that is neither a queue's nor a database's.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use wxpay_worker::clock::Timestamp;
use wxpay_worker::config::{Merchant, Settling};
use wxpay_worker::event::fact::{Fact, Prepay};
use wxpay_worker::ids::{AppId, AppKey, MchId, MerchantKey, OrderNo, OutTradeNo};
use wxpay_worker::money::Fen;
use wxpay_worker::order::{Attempt, AttemptState, Flags, Order, OrderState, Policy, Queries, decide};
use wxpay_worker::secret::V2Key;
use wxpay_worker::trade::{SignType, TradeType};
use wxpay_worker::wechat::v2::notify::{Notice, NoticeResult, parse_and_verify};
use wxpay_worker::wechat::v2::{sign, xml};

const MCH_ID: &str = "10000100";
const APP_ID: &str = "wxd930ea5d5a258f4f";
/// A minute before the payment's `time_end`.
const CREATED: Timestamp = Timestamp::from_ms(1_800_000_000_000);

fn merchant() -> Merchant {
    Merchant {
        key: MerchantKey::parse("main").unwrap(),
        mch_id: MchId::parse(MCH_ID).unwrap(),
        apps: vec![AppKey::parse("shop").unwrap()],
        sign_type: SignType::HmacSha256,
        v2_key: V2Key::parse("0123456789abcdef0123456789abcdef").unwrap(),
        v2_key_previous: None,
        policy: Policy::default(),
        settling: Settling::default(),
        second_person: None,
        orders_per_second: 500,
        queries_per_second: 300,
        refunds_per_second: 150,
        foreign: Vec::new(),
        client_cert_file: None,
        client_key_file: None,
    }
}

fn number() -> OutTradeNo {
    OutTradeNo::for_attempt(&OrderNo::parse("A100001").unwrap(), 1)
}

/// A payable order of 100 fen with one attempt.
fn order() -> Order {
    let attempt = Attempt {
        out_trade_no: number(),
        n: 1,
        trade_type: TradeType::Jsapi,
        mch_id: MchId::parse(MCH_ID).unwrap(),
        appid: AppId::parse(APP_ID).unwrap(),
        created_at: CREATED,
        state: AttemptState::Payable,
        prepay: Some(Prepay { prepay_id: "wx1".into(), code_url: None, mweb_url: None, issued_at: CREATED }),
        transaction_id: None,
        error: None,
        setup_refusals: None,
    };
    Order {
        id: 1,
        version: 2,
        merchant: MerchantKey::parse("main").unwrap(),
        order_no: OrderNo::parse("A100001").unwrap(),
        app: AppKey::parse("shop").unwrap(),
        amount: Fen::from_i64(100),
        state: OrderState::Payable,
        flags: Flags::default(),
        failure: None,
        paid_by: None,
        paid_reported: false,
        intent: None,
        created_at: CREATED,
        expires_at: CREATED.after(Duration::from_secs(7200)),
        queries: Queries { done: 0, next_at: Some(CREATED.after(Duration::from_secs(30))), answered_at: None },
        attempts: vec![attempt],
        payments: Vec::new(),
    }
}

/// A notification with the elements that WeChat sends, signed.
fn body(sign_type: SignType) -> String {
    let time_end = CREATED.after(Duration::from_secs(60)).to_beijing();
    let number = number();
    let mut fields: xml::Fields = [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", APP_ID),
        ("mch_id", MCH_ID),
        ("nonce_str", "5d2b6c2a8db5427b8d1f3c1c3d1a8e0f"),
        ("openid", "oUpF8uMEb4qRXf22hE3X68TekukE"),
        ("is_subscribe", "Y"),
        ("trade_type", "JSAPI"),
        ("bank_type", "CMC"),
        ("total_fee", "100"),
        ("cash_fee", "100"),
        ("fee_type", "CNY"),
        ("transaction_id", "1004400740201409030005092168"),
        ("out_trade_no", number.as_str()),
        ("attach", "shop 7"),
        ("time_end", &time_end),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    if sign_type == SignType::HmacSha256 {
        fields.insert("sign_type".into(), "HMAC-SHA256".into());
    }
    let signature = sign::sign(&fields, &merchant().v2_key, sign_type);
    fields.insert("sign".into(), signature);
    xml::write(&fields)
}

fn paid(notice: Notice) -> Fact {
    match notice.result {
        NoticeResult::Paid(payment) => Fact::Paid(payment),
        NoticeResult::Failed(error) => panic!("not paid: {error:?}"),
    }
}

fn main() {
    let (merchant, apps) = (merchant(), [AppId::parse(APP_ID).unwrap()]);
    let (order, number) = (order(), number());
    let now = CREATED.after(Duration::from_secs(61));
    let mut criterion = Criterion::default().configure_from_args();
    for (name, sign_type) in [("md5", SignType::Md5), ("hmac_sha256", SignType::HmacSha256)] {
        let body = body(sign_type);
        let verify = || parse_and_verify(black_box(body.as_bytes()), &merchant, &apps, now).unwrap();
        let fact = paid(verify());
        let decided = decide(&order, &number, &fact, now, Policy::default());
        assert!(format!("{decided:?}").contains("Paid"), "an order that is paid is what is measured: {decided:?}");
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        group.bench_function("parse", |b| b.iter(|| xml::parse(black_box(body.as_bytes())).unwrap()));
        group.bench_function("parse_verify", |b| b.iter(verify));
        group.bench_function("decide", |b| {
            b.iter(|| decide(black_box(&order), &number, black_box(&fact), now, Policy::default()));
        });
        group.bench_function("parse_verify_decide", |b| {
            b.iter(|| decide(black_box(&order), &number, &paid(verify()), now, Policy::default()));
        });
        group.finish();
    }
    criterion.final_summary();
}
