//! The documents that describe events and problems, held against the program.

use std::collections::BTreeSet;

use serde_json::Value;
use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::domain::{
    AppTrouble, ApprovalWaiting, BillFailed, BillMismatch, BillReconciled, BillSums, CurrencySums, DeadLetterParked,
    DomainData, DomainEvent, LedgerSums, MerchantTrouble, NotificationRejected, OrderEnded, OrderPaid, OrderPayable,
    OrderSurplus, PaidCoupon, PaymentHeld, PaymentOrphaned, RefundEventData, RefundFailed, WebhookDisabled,
};
use wxpay_worker::event::fact::WechatError;
use wxpay_worker::http::{ENTITY_FACTS, Error};
use wxpay_worker::ids::{AppKey, EventId, OrderNo, OutRefundNo, OutTradeNo, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::trade::TradeType;

use super::stage::main;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");

fn one_of_each() -> Vec<DomainData> {
    let (order_no, app) = (OrderNo::parse("A100001").unwrap(), AppKey::parse("shop").unwrap());
    let out_trade_no = OutTradeNo::parse("A100001").unwrap();
    let transaction_id = TransactionId::parse("4200001234").unwrap();
    let (amount_fen, at) = (Fen::from_i64(100), Timestamp::from_ms(1_772_330_584_005));
    let paid = OrderPaid {
        order_no: order_no.clone(),
        app: app.clone(),
        amount_fen,
        order_amount_fen: amount_fen,
        accepted: false,
        currency: "CNY",
        out_trade_no: out_trade_no.clone(),
        transaction_id: transaction_id.clone(),
        trade_type: TradeType::Jsapi,
        paid_at: at,
        cash_fee_fen: Some(Fen::ZERO),
        settlement_total_fee_fen: None,
        coupons: vec![
            PaidCoupon { coupon_id: "10000".into(), coupon_type: Some("CASH".into()), fee_fen: amount_fen },
            PaidCoupon { coupon_id: "10001".into(), coupon_type: None, fee_fen: amount_fen },
        ],
        bank_type: Some("OTHERS".into()),
        learnt_by: "query",
        description: "a coffee".into(),
        attach: None,
        metadata: Some(serde_json::json!({"table": 7})),
    };
    let ended =
        |wechat| OrderEnded { order_no: order_no.clone(), app: app.clone(), amount_fen, currency: "CNY", wechat };
    let payable = OrderPayable {
        order_no: order_no.clone(),
        app: app.clone(),
        amount_fen,
        currency: "CNY",
        out_trade_no: out_trade_no.clone(),
        trade_type: TradeType::Mweb,
        expires_at: at,
    };
    let refund = RefundEventData {
        order_no: Some(order_no.clone()),
        refund_no: OutRefundNo::parse("R100001").unwrap(),
        refund_id: Some("50300207772026030110203040506".into()),
        out_trade_no: out_trade_no.clone(),
        transaction_id: transaction_id.clone(),
        amount_fen: Fen::from_i64(30),
        paid_fen: amount_fen,
        currency: "CNY".into(),
        origin: "policy",
        refunded_at: Some(at),
        wechat: None,
    };
    let not_yet = Some(WechatError { code: "NOTENOUGH".into(), message: "余额不足".into() });
    let error = WechatError { code: "SIGNERROR".into(), message: "x".into() };
    let of_merchant = |wechat, what: &str, is_hint| MerchantTrouble {
        what: what.into(),
        reason: "signature".into(),
        check: "merchants.v2_key_file".into(),
        is_hint,
        wechat,
        since: at,
    };
    let trouble = |errcode| AppTrouble {
        app: app.clone(),
        token: "access_token",
        reason: "quota_used_up".into(),
        errcode,
        since: at,
    };
    vec![
        DomainData::RefundRequested(RefundEventData { refund_id: None, refunded_at: None, ..refund.clone() }),
        DomainData::RefundRequested(RefundEventData {
            order_no: None,
            currency: "USD".into(),
            refund_id: None,
            refunded_at: None,
            ..refund.clone()
        }),
        DomainData::RefundDelayed(RefundEventData { wechat: not_yet.clone(), ..refund.clone() }),
        DomainData::RefundSucceeded(refund.clone()),
        DomainData::RefundAbnormal(refund.clone()),
        DomainData::RefundFailed(RefundFailed {
            refund: RefundEventData { wechat: not_yet, ..refund.clone() },
            payment_refunded_fen: None,
        }),
        DomainData::RefundFailed(RefundFailed { refund, payment_refunded_fen: Some(amount_fen) }),
        DomainData::OrderPayable(payable),
        DomainData::OrderPaid(paid.clone()),
        DomainData::OrderPaidLate(OrderSurplus { payment: paid.clone(), policy: "accept" }),
        DomainData::OrderPaidTwice(OrderSurplus { payment: paid.clone(), policy: "hold" }),
        DomainData::PaymentAccepted(OrderPaid { accepted: true, ..paid }),
        DomainData::PaymentHeld(PaymentHeld {
            order_no: order_no.clone(),
            app: app.clone(),
            out_trade_no: out_trade_no.clone(),
            transaction_id: transaction_id.clone(),
            amount_fen,
            currency: "CNY".into(),
            order_amount_fen: amount_fen,
            paid_at: at,
            reason: "before_order",
            learnt_by: "query",
        }),
        DomainData::OrderClosed(ended(None)),
        DomainData::OrderFailed(ended(Some(WechatError { code: "NOAUTH".into(), message: "无权限".into() }))),
        DomainData::PaymentOrphaned(PaymentOrphaned {
            out_trade_no,
            transaction_id,
            amount_fen,
            currency: "CNY".into(),
            paid_at: at,
            notification_id: EventId::new(),
        }),
        DomainData::NotificationRejected(NotificationRejected {
            notification_id: EventId::new(),
            out_trade_no: None,
            reason: "amount_differs",
            message: "x".into(),
        }),
        DomainData::DeadLetterParked(DeadLetterParked {
            event_id: EventId::new().to_string(),
            consumer: "settle".into(),
            message_subject: "pay.in.main.notify.received".into(),
            reason: "x".into(),
            last_error: "x".into(),
            attempts: 3,
            order_no: None,
        }),
        DomainData::AppDegraded(trouble(Some(40164))),
        DomainData::AppRecovered(trouble(None)),
        DomainData::MerchantDegraded(of_merchant(Some(error.clone()), "trade_type:JSAPI", false)),
        DomainData::MerchantRecovered(of_merchant(None, "notifications", true)),
        DomainData::WebhookDisabled(WebhookDisabled {
            endpoint: EventId::new().to_string(),
            description: "accounting".into(),
            reason: "failing",
            failing_since: at,
        }),
        DomainData::ApprovalWaiting(waiting(true)),
        DomainData::ApprovalWaiting(waiting(false)),
        DomainData::BillReconciled(BillReconciled {
            day: "2026-11-27".into(),
            state: "red",
            bill: BillSums { rows: 2, payments_fen: 300, refunds_fen: 100, fees: "-0.60000".into() },
            ledger: LedgerSums { rows: 1, payments_fen: 300, refunds_fen: 0 },
            classes: [("matched".to_owned(), 1)].into(),
            differences: 1,
            open: 1,
            unexplained_fen: 0,
            others: [("USD".to_owned(), dollars())].into(),
        }),
        DomainData::BillMismatchFound(mismatch(Some(100), None)),
        DomainData::BillMismatchFound(mismatch(None, Some(100))),
        DomainData::BillFailed(BillFailed {
            day: "2026-11-27".into(),
            error: "the gzip data is cut short".into(),
            next_try_at: Some(at),
        }),
        DomainData::BillFailed(BillFailed { day: "2026-08-27".into(), error: "gone".into(), next_try_at: None }),
    ]
}

fn waiting(is_refund: bool) -> ApprovalWaiting {
    ApprovalWaiting {
        approval: 17,
        what: if is_refund { "refund" } else { "accept" },
        transaction_id: TransactionId::parse("4200000002202603010000000001").unwrap(),
        refund_no: is_refund.then(|| OutRefundNo::parse("R1").unwrap()),
        amount_fen: Fen::from_i64(100_000),
        currency: "CNY".into(),
        asked_by: "desk".into(),
        reason: String::new(),
        expires_at: Timestamp::from_ms(1),
    }
}

fn dollars() -> CurrencySums {
    CurrencySums {
        bill: BillSums { rows: 1, payments_fen: 300, refunds_fen: 0, fees: "0.02000".into() },
        ledger: LedgerSums { rows: 1, payments_fen: 299, refunds_fen: 0 },
        unexplained_fen: 1,
    }
}

fn mismatch(bill_fen: Option<i64>, ledger_fen: Option<i64>) -> BillMismatch {
    BillMismatch {
        day: "2026-11-27".into(),
        line: 7,
        class: "refund_missing_here",
        kind: "refund",
        resolution: "open",
        order_no: ledger_fen.map(|_| "A100001".into()),
        transaction_id: "4200000000202611270000000007".into(),
        out_trade_no: bill_fen.map(|_| "A100001".into()),
        refund_no: bill_fen.map(|_| "R1".into()),
        refund_id: None,
        bill_fen,
        bill_currency: bill_fen.map(|_| "HKD".into()),
        ledger_fen,
        ledger_currency: ledger_fen.map(|_| "CNY".into()),
        explains_fen: -100,
        explains_ours_fen: ledger_fen,
    }
}

fn schema(event_type: &str) -> Value {
    let path = format!("{DOCS}/events/{event_type}.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).unwrap()
}

fn problems(schema: &Value, event: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).unwrap();
    validator.iter_errors(event).map(|e| format!("{}: {e}", e.instance_path())).collect()
}

#[test]
fn every_event_is_as_its_schema_says_and_has_no_field_the_schema_omits() {
    for data in one_of_each() {
        let order_no = OrderNo::parse("A100001").unwrap();
        let about = serde_json::to_value(&data).unwrap().get("order_no").filter(|no| !no.is_null()).map(|_| order_no);
        let sealed = DomainEvent { merchant: main(), order_no: about, data }.encode(Timestamp::from_ms(0));
        let event: Value = serde_json::from_str(&sealed.payload).unwrap();
        let schema = schema(&sealed.event_type);
        assert_eq!(problems(&schema, &event), Vec::<String>::new(), "{event}");
        for (name, place) in [("/data", "/properties/data/properties"), ("", "/properties")] {
            let sent: BTreeSet<&String> = event.pointer(name).unwrap().as_object().unwrap().keys().collect();
            let described: BTreeSet<&String> = schema.pointer(place).unwrap().as_object().unwrap().keys().collect();
            assert!(sent.is_subset(&described), "{}: {sent:?} {described:?}", sealed.event_type);
        }
        // The schema is one that can say no.
        for name in event["data"].as_object().unwrap().keys() {
            let mut less = event.clone();
            less["data"].as_object_mut().unwrap().remove(name);
            assert_ne!(problems(&schema, &less), Vec::<String>::new(), "without {name}");
        }
    }
}

#[test]
fn every_type_has_a_schema_whose_example_holds_and_no_schema_is_left_over() {
    let of_program: BTreeSet<&str> = one_of_each().iter().map(DomainData::entity_fact).collect();
    let of_feed: BTreeSet<&str> = ENTITY_FACTS.iter().copied().collect();
    assert_eq!(of_program, of_feed);
    let files: BTreeSet<String> = std::fs::read_dir(format!("{DOCS}/events"))
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(files, of_program.iter().map(|name| format!("wxpay.{name}.v1.json")).collect());
    for name in of_program {
        let schema = schema(&format!("wxpay.{name}.v1"));
        assert_eq!(problems(&schema, &schema["examples"][0]), Vec::<String>::new());
    }
}

#[test]
fn every_problem_is_described_and_nothing_else_is() {
    let text = std::fs::read_to_string(format!("{DOCS}/problems.md")).unwrap();
    let described: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(described, Error::SLUGS.iter().copied().collect());
}
