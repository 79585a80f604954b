//! `/secapi/pay/refund`: the merchant gives money back. The answer SUCCESS means taken on, not refunded.
//!
//! Whose certificate the caller showed is checked before anything here.

use std::sync::Arc;

use super::answer::{Refusal, Reply, with};
use super::check::{Message, lengths, malformed, optional, required};
use super::unified_order::{notify_url, param_error};
use crate::money::Fen;
use crate::sandbox::ledger::record::{CouponType, Payment};
use crate::sandbox::ledger::refund_flow;
use crate::sandbox::ledger::refunds::{Ask, Of, RefundRefused, Taken};
use crate::sandbox::state::SandboxState;
use crate::wechat::v2::xml::Fields;

/// Where a refund's money comes from when the request does not say.
pub(in crate::sandbox) const UNSETTLED_FUNDS: &str = "REFUND_SOURCE_UNSETTLED_FUNDS";

/// In bytes; see [`lengths`].
const LIMITS: &[(&str, usize)] = &[
    ("transaction_id", 32),
    ("out_trade_no", 32),
    ("out_refund_no", 64),
    ("refund_fee_type", 8),
    ("refund_desc", 80),
    ("refund_account", 30),
    ("notify_url", 256),
];

pub(super) fn execute(sandbox: &Arc<SandboxState>, message: &Message<'_>, parameters_sha256: &str) -> Reply {
    let ask = ask(message, parameters_sha256)?;
    same_currency(sandbox, message)?;
    let taken = sandbox.book().refund(&ask, sandbox.now())?;
    if taken.is_new {
        refund_flow::begin(sandbox, &taken.refund);
    }
    Ok(answer(&taken))
}

/// Which order the call is about, for counting and for faults. `transaction_id` wins, as at WeChat.
pub(super) fn subject(sandbox: &SandboxState, message: &Message<'_>) -> Option<String> {
    let mch_id = message.account.mch_id.as_str();
    match optional(&message.fields, "transaction_id") {
        Some(id) => sandbox.book().order_by_transaction(mch_id, id).map(|o| o.terms.out_trade_no.as_str().to_owned()),
        None => optional(&message.fields, "out_trade_no").map(str::to_owned),
    }
}

fn ask<'m>(message: &'m Message<'_>, parameters_sha256: &'m str) -> Result<Ask<'m>, Refusal> {
    let fields = &message.fields;
    lengths(fields, LIMITS)?;
    let of = match optional(fields, "transaction_id") {
        Some(id) => Of::TransactionId(id),
        None => Of::OutTradeNo(required(fields, "out_trade_no")?),
    };
    let out_refund_no = required(fields, "out_refund_no")?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'|' | b'*' | b'@');
    if !out_refund_no.bytes().all(allowed) {
        return Err(malformed("out_refund_no"));
    }
    let [total_fee, refund_fee] = [amount(fields, "total_fee")?, amount(fields, "refund_fee")?];
    let refund_account = optional(fields, "refund_account").unwrap_or(UNSETTLED_FUNDS);
    if !matches!(refund_account, UNSETTLED_FUNDS | "REFUND_SOURCE_RECHARGE_FUNDS") {
        return Err(param_error("refund_account参数错误"));
    }
    if let Some(url) = optional(fields, "notify_url") {
        notify_url(url)?;
    }
    Ok(Ask {
        mch_id: &message.account.mch_id,
        appid: Some(&message.appid),
        of,
        out_refund_no: Some(out_refund_no),
        total_fee: Some(total_fee),
        refund_fee,
        refund_desc: optional(fields, "refund_desc").unwrap_or_default(),
        refund_account,
        notify_url: optional(fields, "notify_url"),
        is_silent: false,
        parameters_sha256,
    })
}

/// The refund's currency must be the payment's; it is CNY where the request names none. What is not found is refused
/// later.
fn same_currency(sandbox: &SandboxState, message: &Message<'_>) -> Result<(), Refusal> {
    let (fields, mch_id) = (&message.fields, message.account.mch_id.as_str());
    let currency = optional(fields, "refund_fee_type").unwrap_or("CNY");
    let book = sandbox.book();
    let order = match optional(fields, "transaction_id") {
        Some(id) => book.order_by_transaction(mch_id, id),
        None => book.order(mch_id, required(fields, "out_trade_no")?),
    };
    let paid_in = order.and_then(|order| order.payment.as_ref()).map_or("CNY", |payment| payment.fee_type.as_str());
    if currency == paid_in {
        return Ok(());
    }
    Err(param_error("refund_fee_type参数错误，须与支付币种一致"))
}

fn amount(fields: &Fields, name: &str) -> Result<Fen, Refusal> {
    Fen::parse_field(required(fields, name)?)
        .and_then(|fee| Fen::order_amount(fee.as_i64()))
        .map_err(|_| malformed(name))
}

fn answer(taken: &Taken) -> Fields {
    let Taken { refund, payment, .. } = taken;
    let mut fields = with(
        payment_side(payment),
        &[
            ("out_refund_no", refund.out_refund_no.as_str()),
            ("refund_id", &refund.refund_id),
            ("refund_fee", &refund.refund_fee.to_string()),
            ("cash_refund_fee", &refund.cash_refund_fee().to_string()),
        ],
    );
    if let Some(kind) = payment.coupon_type {
        let fee = refund.coupon_refund_fee.to_string();
        fields = with(
            fields,
            &[
                ("coupon_type_0", coupon_type(kind)),
                ("coupon_refund_fee", &fee),
                ("coupon_refund_count", "1"),
                ("coupon_refund_id_0", COUPON_ID),
                ("coupon_refund_fee_0", &fee),
            ],
        );
        if kind == CouponType::NoCash {
            fields = with(fields, &[("settlement_refund_fee", &refund.settlement_refund_fee.to_string())]);
        }
    }
    fields
}

/// The coupon of every simulated payment that has one.
pub(super) const COUPON_ID: &str = "10000";

/// WeChat's word.
pub(super) fn coupon_type(kind: CouponType) -> &'static str {
    match kind {
        CouponType::Cash => "CASH",
        CouponType::NoCash => "NO_CASH",
    }
}

/// What answers about refunds say of the payment.
pub(super) fn payment_side(payment: &Payment) -> Fields {
    let mut fields = with(
        Fields::new(),
        &[
            ("transaction_id", payment.transaction_id.as_str()),
            ("out_trade_no", payment.out_trade_no.as_str()),
            ("total_fee", &payment.total_fee.to_string()),
            ("fee_type", payment.fee_type.as_str()),
            ("cash_fee", &payment.cash_fee.to_string()),
        ],
    );
    if payment.coupon_type == Some(CouponType::NoCash) {
        fields = with(fields, &[("settlement_total_fee", &payment.cash_fee.to_string())]);
    }
    fields
}

impl From<RefundRefused> for Refusal {
    fn from(refused: RefundRefused) -> Refusal {
        let (code, des) = refused.in_wechats_words();
        Refusal::Business(code, des.to_owned())
    }
}

impl RefundRefused {
    /// `err_code` and `err_code_des`.
    pub(in crate::sandbox) const fn in_wechats_words(self) -> (&'static str, &'static str) {
        match self {
            RefundRefused::OrderNotFound => ("ORDERNOTEXIST", "订单不存在或未支付"),
            RefundRefused::UnknownTransaction => ("INVALID_TRANSACTIONID", "无效transaction_id"),
            RefundRefused::AmountsDiffer => ("REFUND_FEE_MISMATCH", "订单金额或退款金额与之前请求不一致，请核实后再试"),
            RefundRefused::ParametersDiffer => ("INVALID_REQUEST", "商户退款单号已存在，请求参数与之前不一致"),
            RefundRefused::TotalDiffers => ("INVALID_REQUEST", "订单金额与支付时不一致"),
            RefundRefused::Exceeds => ("INVALID_REQUEST", "申请退款金额大于可退金额"),
            RefundRefused::AllRefunded => ("INVALID_REQUEST", "订单已全额退款"),
            RefundRefused::TooMany => ("INVALID_REQUEST", "部分退款次数超过50次"),
            RefundRefused::TooSoon => ("FREQUENCY_LIMITED", "同一订单两次退款须间隔一分钟，请稍后再试"),
            RefundRefused::Overdue => ("TRADE_OVERDUE", "订单已经超过可退款的最大期限"),
            RefundRefused::NotEnough => ("NOTENOUGH", "基本账户余额不足，请充值后重新发起"),
            RefundRefused::System => ("SYSTEMERROR", "系统错误"),
        }
    }
}
