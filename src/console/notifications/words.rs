//! Texts of the notifications' pages.

use crate::console::ui::status::Status;
use crate::console::words::Lang;

words! {
    Texts {
        title: "通知", "Notifications";
        one: "通知", "Notification";
        received: "收到", "Received";
        verdict: "结论", "Verdict";
        kind: "类型", "Kind";
        copies: "次数", "Arrivals";
        last: "最近一次", "Last arrival";
        processed: "处理于", "Processed";
        transaction: "微信支付单号", "Transaction";
        out_trade_no: "商户单号", "out_trade_no";
        verified_by: "验签密钥", "Verified by";
        from_addr: "来源地址", "From address";
        any: "任意编号", "Any number";
        body: "内容（已脱敏，金额单位为分）", "Message, masked (amounts in fen)";
        unreadable: "内容无法解析，不予显示。", "The message cannot be parsed and is not shown.";
        headers: "请求头", "Headers";
        changes: "引起的变更", "What it changed";
        nothing: "没有引起变更。", "It changed nothing.";
        replay: "重放", "Replay";
        replay_these: "重放这些", "Replay these";
        curl: "复制为 curl（沙箱）", "Copy as curl for the sandbox";
        sample: "抽样保留，内容可能不完整。", "A sample: the message may be cut.";
        bytes: "字节", "bytes";
        tab_all: "全部", "All";
        tab_refused: "已拒绝", "Refused";
        tab_parked: "已搁置", "Parked";
        tab_settled: "已结算", "Settled";
        none: "没有通知。", "No notifications.";
        none_match: "没有符合条件的通知。", "No notifications match these filters.";
        none_refused: "没有被拒绝的通知。", "No refused notifications.";
        none_parked: "没有搁置的通知。", "No parked notifications.";
        version: "版本", "Version";
    }
}

/// A verdict as a state.
pub fn verdict(name: &str) -> Option<Status> {
    Some(match name {
        "settled" => Status::Settled,
        "duplicate" => Status::Duplicate,
        "no_payment" => Status::NoPayment,
        "waiting" => Status::Waiting,
        "rejected" => Status::Rejected,
        "parked" => Status::Parked,
        "refused" => Status::Refused,
        _ => return None,
    })
}

/// What a notification is about.
pub fn kind(name: &str, lang: Lang) -> &str {
    match name {
        "pay" => lang.pick("支付", "payment"),
        "refund" => lang.pick("退款", "refund"),
        other => other,
    }
}
