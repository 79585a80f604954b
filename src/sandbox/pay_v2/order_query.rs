//! `/pay/orderquery`: the merchant asks what became of an order.

use super::answer::{Refusal, Reply, with};
use super::check::{Message, lengths, optional, required};
use crate::sandbox::forgery::one_fen_more;
use crate::sandbox::ledger::account::Refused;
use crate::sandbox::ledger::order::{Order, TradeState};
use crate::sandbox::notify::notification::payment_fields;
use crate::sandbox::state::SandboxState;
use crate::wechat::v2::xml::Fields;

/// Executes the call. `transaction_id` wins over `out_trade_no`, as at WeChat.
pub(super) fn execute(sandbox: &SandboxState, message: &Message<'_>) -> Reply {
    let fields = &message.fields;
    lengths(fields, &[("transaction_id", 32), ("out_trade_no", 32)])?;
    let mch_id = message.account.mch_id.as_str();
    let book = sandbox.book();
    let order = match optional(fields, "transaction_id") {
        Some(transaction_id) => book.order_by_transaction(mch_id, transaction_id),
        None => book.order(mch_id, required(fields, "out_trade_no")?),
    };
    // Another app of the same merchant does not see it.
    let order = order.filter(|order| order.terms.appid == message.appid).ok_or(Refused::NotFound)?;
    Ok(answer(order, order.state(sandbox.now())))
}

/// Which number the call is about, for counting and for faults.
pub(super) fn subject(sandbox: &SandboxState, message: &Message<'_>) -> Option<String> {
    match optional(&message.fields, "transaction_id") {
        Some(transaction_id) => sandbox
            .book()
            .order_by_transaction(message.account.mch_id.as_str(), transaction_id)
            .map(|order| order.terms.out_trade_no.as_str().to_owned()),
        None => optional(&message.fields, "out_trade_no").map(str::to_owned),
    }
}

fn answer(order: &Order, state: TradeState) -> Fields {
    let fields = match (state, &order.payment) {
        (TradeState::Success | TradeState::Refund, Some(payment)) => payment_fields(&order.terms, payment),
        // Without a payment WeChat tells little more than the state.
        (TradeState::Success | TradeState::Refund | TradeState::NotPay | TradeState::Closed, _) => {
            with(Fields::new(), &[("out_trade_no", order.terms.out_trade_no.as_str())])
        }
    };
    let desc = match state {
        TradeState::Success => "支付成功",
        TradeState::Refund => "订单发生过退款",
        TradeState::NotPay => "订单未支付",
        TradeState::Closed => "订单已关闭",
    };
    with(fields, &[("attach", &order.terms.attach), ("trade_state", state.as_str()), ("trade_state_desc", desc)])
}

/// `forge_amount`: one fen more than was paid.
pub(super) fn forge_amount(reply: Reply) -> Result<Fields, Refusal> {
    reply.map(|mut fields| {
        one_fen_more(&mut fields);
        fields
    })
}
