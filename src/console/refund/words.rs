//! Texts of the form of a refund.

use crate::order::CNY;

words! {
    Texts {
        reason_needed: "请填写原因。", "A reason is required.";
        refund_title: "退款", "Refund";
        refund_amount: "退款金额（元）", "Amount in yuan";
        refund_units: "退款金额（该币种的最小单位，如上所示），币种：",
            "Amount in the currency's smallest unit, as shown above, of";
        bad_units: "请输入不超过可退金额的整数，以该币种的最小单位计，如 1250。",
            "Enter a whole number of the currency's smallest unit, like 1250, of what is left at most.";
        refund_reason: "退款原因（付款人可见，最多 80 字节）", "Reason, which the payer reads (80 bytes at most)";
        refund_left: "可退金额", "Left to refund";
        refund_after: "退款后剩余", "Left afterwards";
        refund_of: "支付金额", "Paid";
        refund_preview: "预览", "Preview";
        refund_confirm: "确认退款", "Refund";
        refund_edit: "修改", "Change";
        refund_what: "款项将原路退回付款人，不能撤销。", "The money goes back to the payer the way it came. This cannot be undone.";
        refund_done: "退款已登记。", "The refund is recorded.";
        refund_known: "该退款此前已登记，没有重复退款。", "This refund was recorded before: it is not made twice.";
        awaits: "金额较大，须由另一人复核后退款。", "It takes a second person: it is refunded once approved.";
        not_approved: "该退款已被复核人拒绝。", "A second person refused this refund.";
        bad_yuan: "请输入不超过可退金额的金额，如 12.50。", "Enter an amount like 12.50, of what is left at most.";
        plain_reason: "退款原因不能包含控制字符。", "The reason must not hold control characters.";
        refund_capped: "超过你的当日退款额度，今日剩余：", "More than you may refund on one day. Left today:";
        refund_unknown: "没有收到答复，无法确认退款是否已登记。请稍后重新提交本表单：重复提交只会退款一次。不要另外新建退款。",
            "No answer came: it is not known whether the refund was recorded. Send this form again in a moment: it is \
             one refund, however often it is sent. Do not begin another one.";
        refund_unconfirmed: "暂时无法向微信支付核实这笔支付，没有登记任何退款。请稍后重新提交本表单。",
            "WeChat could not be asked, nothing was recorded. Send this form again in a moment.";
        refund_other: "本表单此前已登记另一笔退款（金额、支付或原因不同），请先核对：",
            "This form already made another refund, of another amount, payment or reason: check it first.";
        long_reason: "退款原因最多 80 字节。", "The reason has 80 bytes at most.";
        transaction: "微信支付单号", "Transaction";
        out_trade_no: "商户单号", "out_trade_no";
        class: "类别", "Class";
        reason: "原因", "Reason";
        moved: "这笔支付现已有对应的订单，请核对后再退款。",
            "This payment has an order by now: check it again before it is refunded.";
    }
}

impl Texts {
    /// What is wrong with an amount.
    pub fn bad_amount(&self, currency: &str) -> &'static str {
        if currency == CNY { self.bad_yuan } else { self.bad_units }
    }
}
