//! The texts of held money and refunds.

words! {
    MoneyWords {
        held_title: "挂起资金", "Held money";
        held_note: "微信已收款，但不计入订单的支付：迟到、重复、金额不符，或没有对应的订单。由人决定接受或退款。",
            "Payments that WeChat took but no order is credited with: late, duplicate, of another amount, or of no \
             order. A person accepts each or gives it back.";
        held_empty: "没有挂起的支付。", "No held payments.";
        refunds_title: "退款", "Refunds";
        refunds_empty: "没有退款。", "No refunds.";
        transaction: "微信支付单号", "Transaction";
        paid_at: "支付时间", "Paid";
        refund_no: "退款单号", "Refund number";
        asked_at: "申请时间", "Requested";
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
        approvals_title: "复核", "Approvals";
        approvals_note: "超过设定金额的入账或退款，须由另一人复核后才会执行；申请人自己不能复核。",
            "Money above a set amount is credited or refunded only once another person than the requester approves it.";
        approvals_empty: "没有待复核的申请。", "Nothing waits for a second person.";
        only_waiting: "待复核", "Waiting";
        what: "操作", "What";
        kind_accept: "接受入账", "Credit";
        kind_refund: "退款", "Refund";
        asked_by: "申请人", "Requested by";
        decision: "复核", "Decision";
        approve: "批准", "Approve";
        refuse: "拒绝", "Refuse";
        withdraw: "撤回", "Withdraw";
        withdrawn: "已撤回，资金未变动。", "Withdrawn: no money moved.";
        until: "有效至", "until";
        approved: "已批准并执行。", "Approved and done.";
        refused: "已拒绝，资金未变动。", "Refused: no money moved.";
        own: "须由另一人复核：申请人及与其密钥同源者不能复核。", "Another person decides this, never who asked.";
        ended: "该申请已另有结论或已过期。", "It was decided otherwise, or its time is over.";
        changed: "这笔支付的情况已改变，未执行：请核对后拒绝或重新申请。",
            "The payment is not what it was, and nothing was done: check it, then refuse this or ask anew.";
        capped: "超过申请人的当日退款额度，未执行。", "More than who asked may refund on one day: nothing was done.";
    }
}
