//! Orders in every state, and facts about them.

use std::time::Duration;

use wxpay_worker::clock::Timestamp;
use wxpay_worker::event::fact::{Fact, Payment, Prepay, WechatError};
use wxpay_worker::ids::{AppId, AppKey, MchId, MerchantKey, OrderNo, OutTradeNo, TransactionId};
use wxpay_worker::money::Fen;
use wxpay_worker::order::{
    Attempt, AttemptState, Decision, Flags, Order, OrderPayment, OrderState, PaidBy, PaymentClass, Policy, Queries,
};
use wxpay_worker::trade::TradeType;

pub const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// Decides for a merchant who holds late and double money.
pub fn decide(order: &Order, number: &OutTradeNo, fact: &Fact, now: Timestamp) -> Decision {
    wxpay_worker::order::decide(order, number, fact, now, Policy::default())
}

pub fn later(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

pub fn number(n: u32) -> OutTradeNo {
    OutTradeNo::for_attempt(&OrderNo::parse("A100001").unwrap(), n)
}

pub fn error(code: &str) -> WechatError {
    WechatError { code: code.into(), message: "said WeChat".into() }
}

pub fn prepay(id: &str) -> Prepay {
    Prepay { prepay_id: id.into(), code_url: None, mweb_url: None, issued_at: NOW }
}

pub fn transaction(n: u32) -> TransactionId {
    TransactionId::parse(format!("4200{n:024}")).unwrap()
}

pub fn payment(attempt: u32, transaction_no: u32) -> Payment {
    Payment {
        mch_id: MchId::parse("10000100").unwrap(),
        appid: AppId::parse("wxd930ea5d5a258f4f").unwrap(),
        out_trade_no: number(attempt),
        transaction_id: transaction(transaction_no),
        total_fee: Fen::from_i64(100),
        fee_type: "CNY".into(),
        time_end: later(10),
        openid: None,
        bank_type: None,
        cash_fee: None,
        settlement_total_fee: None,
        coupons: Vec::new(),
    }
}

/// An attempt as the state says, with the columns that belong to it.
pub fn attempt(n: u32, state: AttemptState) -> Attempt {
    Attempt {
        out_trade_no: number(n),
        n,
        trade_type: TradeType::Jsapi,
        mch_id: MchId::parse("10000100").unwrap(),
        appid: AppId::parse("wxd930ea5d5a258f4f").unwrap(),
        created_at: NOW,
        state,
        prepay: (state == AttemptState::Payable).then(|| prepay("wx1")),
        transaction_id: (state == AttemptState::Paid).then(|| transaction(1)),
        error: (state == AttemptState::Failed).then(|| error("PARAM_ERROR")),
        setup_refusals: None,
    }
}

/// The payment of the first attempt, as an order has it.
pub fn credited(transaction_no: u32) -> OrderPayment {
    OrderPayment {
        transaction_id: transaction(transaction_no),
        out_trade_no: number(1),
        amount: Fen::from_i64(100),
        currency: "CNY".into(),
        class: PaymentClass::Credited,
        reason: None,
        reserved: Fen::ZERO,
    }
}

/// An order of 100 fen with one attempt, expiring in two hours.
pub fn order(state: OrderState, attempt_state: AttemptState) -> Order {
    let paid = state == OrderState::Paid;
    let open = matches!(state, OrderState::Requested | OrderState::Payable);
    Order {
        // No jitter: the tests tell times to the second.
        id: 0,
        version: 7,
        merchant: MerchantKey::parse("main").unwrap(),
        order_no: OrderNo::parse("A100001").unwrap(),
        app: AppKey::parse("shop").unwrap(),
        amount: Fen::from_i64(100),
        state,
        flags: Flags { outcome_unknown: attempt_state == AttemptState::Unknown, ..Flags::default() },
        failure: (state == OrderState::Failed).then(|| error("PARAM_ERROR")),
        paid_by: paid.then(|| PaidBy { transaction_id: transaction(1), paid_at: NOW }),
        paid_reported: paid,
        intent: None,
        created_at: NOW,
        expires_at: later(7200),
        queries: Queries { done: 0, next_at: open.then(|| later(30)), answered_at: None },
        attempts: vec![attempt(1, attempt_state)],
        payments: if paid || attempt_state == AttemptState::Paid { vec![credited(1)] } else { Vec::new() },
    }
}

/// One fact of each kind, with its name.
pub fn facts() -> Vec<(&'static str, Fact)> {
    vec![
        ("issued", Fact::PrepayIssued(prepay("wx2"))),
        ("refused", Fact::PlacementRefused(error("NOAUTH"))),
        ("unknown", Fact::PlacementUnknown { why: "timeout".into(), said: None, not_called: false }),
        ("closed", Fact::Closed),
        ("paid", Fact::Paid(payment(1, 1))),
        ("paid again", Fact::Paid(payment(1, 2))),
        ("unpaid", Fact::Unpaid { trade_state: "NOTPAY".into() }),
        ("not found", Fact::NotFound),
        ("close", Fact::CloseRequested),
        ("switch", Fact::AttemptRequested { trade_type: TradeType::Native, expires_at: later(9000) }),
    ]
}
