//! The domain events of an order's change.

use super::decision::OrderEvent;
use super::state::{Attempt, CNY, Order, Surplus};
use crate::event::command::OrderContent;
use crate::event::domain::{
    DomainData, DomainEvent, OrderEnded, OrderPaid, OrderPayable, OrderSurplus, PaidCoupon, PaymentHeld,
};
use crate::event::fact::{CouponPart, Payment, WechatError};

/// The event of an order's change, which `learnt_by` reported: the name of a source of evidence. `asked` is what the
/// business wanted paid.
pub fn of_order(order: &Order, asked: &OrderContent, news: OrderEvent, learnt_by: &'static str) -> DomainEvent {
    let paid = |p| paid(order, asked, p, learnt_by);
    let surplus = |p, policy: Surplus| OrderSurplus { payment: paid(p), policy: policy.as_str() };
    let data = match news {
        OrderEvent::Payable(out_trade_no) => DomainData::OrderPayable(OrderPayable {
            order_no: order.order_no.clone(),
            app: order.app.clone(),
            amount_fen: order.amount,
            currency: CNY,
            trade_type: trade_type(order, |a| a.out_trade_no == out_trade_no),
            out_trade_no,
            expires_at: order.expires_at,
        }),
        OrderEvent::Paid(p) => DomainData::OrderPaid(paid(p)),
        OrderEvent::PaidLate(p, policy) => DomainData::OrderPaidLate(surplus(p, policy)),
        OrderEvent::PaidTwice(p, policy) => DomainData::OrderPaidTwice(surplus(p, policy)),
        OrderEvent::PaidByAccept(p) => DomainData::OrderPaid(OrderPaid { accepted: true, ..paid(p) }),
        OrderEvent::PaymentAccepted(p) => DomainData::PaymentAccepted(OrderPaid { accepted: true, ..paid(p) }),
        OrderEvent::PaymentHeld(p, reason) => DomainData::PaymentHeld(PaymentHeld {
            order_no: order.order_no.clone(),
            app: order.app.clone(),
            out_trade_no: p.out_trade_no,
            transaction_id: p.transaction_id,
            amount_fen: p.total_fee,
            currency: p.fee_type,
            order_amount_fen: order.amount,
            paid_at: p.time_end,
            reason: reason.as_str(),
            learnt_by,
        }),
        OrderEvent::Closed => DomainData::OrderClosed(ended(order, None)),
        OrderEvent::Failed(error) => DomainData::OrderFailed(ended(order, Some(error))),
    };
    DomainEvent { merchant: order.merchant.clone(), order_no: Some(order.order_no.clone()), data }
}

fn paid(order: &Order, asked: &OrderContent, p: Payment, learnt_by: &'static str) -> OrderPaid {
    OrderPaid {
        order_no: order.order_no.clone(),
        app: order.app.clone(),
        amount_fen: p.total_fee,
        order_amount_fen: order.amount,
        accepted: false,
        currency: CNY,
        trade_type: trade_type(order, |a| a.out_trade_no == p.out_trade_no),
        out_trade_no: p.out_trade_no,
        transaction_id: p.transaction_id,
        paid_at: p.time_end,
        cash_fee_fen: p.cash_fee,
        settlement_total_fee_fen: p.settlement_total_fee,
        coupons: p.coupons.into_iter().map(paid_coupon).collect(),
        bank_type: p.bank_type,
        learnt_by,
        description: asked.description.clone(),
        attach: asked.attach.clone(),
        metadata: asked.metadata.clone(),
    }
}

fn paid_coupon(part: CouponPart) -> PaidCoupon {
    PaidCoupon { coupon_id: part.id, coupon_type: part.kind, fee_fen: part.fee }
}

fn ended(order: &Order, wechat: Option<WechatError>) -> OrderEnded {
    OrderEnded {
        order_no: order.order_no.clone(),
        app: order.app.clone(),
        amount_fen: order.amount,
        currency: CNY,
        wechat,
    }
}

fn trade_type(order: &Order, is: impl Fn(&Attempt) -> bool) -> crate::trade::TradeType {
    let attempt = order.attempts.iter().find(|a| is(a)).or(order.current());
    attempt.map_or(crate::trade::TradeType::Jsapi, |a| a.trade_type)
}
