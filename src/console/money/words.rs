//! The texts of held money and refunds.

words! {
    MoneyWords {
        held_title: "挂起资金", "Held money";
        held_note: "微信已收款，但不计入订单的支付：迟到、重复、金额不符，或没有对应的订单。由人决定接受或退款。",
            "Payments that WeChat took and no order counts: late, twice, of another amount, or of no order. A person \
             accepts them or gives them back.";
        held_empty: "没有挂起的支付。", "No held payments.";
        refunds_title: "退款", "Refunds";
        refunds_empty: "没有退款。", "No refunds.";
        transaction: "微信支付单号", "WeChat's number";
        paid_at: "支付时间", "Paid";
        refund_no: "退款单号", "Refund number";
        asked_at: "申请时间", "Asked for";
        origin: "来源", "From";
        give_back: "退还", "Give back";
        why_late: "迟到", "late";
        why_twice: "重复", "second payment";
        why_before: "早于订单", "older than the order";
        why_mismatched: "金额、币种或收款方不符", "another amount, currency or recipient";
        wechat_says: "微信的回复", "WeChat says";
        origin_api: "接口", "API";
        origin_user: "控制台", "console";
        origin_policy: "策略", "policy";
        origin_console: "微信商户平台", "merchant platform";
    }
}
