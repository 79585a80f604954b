//! Texts of an order's page.

use crate::console::words::Lang;

words! {
    Texts {
        timeline: "时间线", "Timeline";
        attempts: "支付尝试", "Attempts";
        payments: "支付", "Payments";
        refunds: "退款", "Refunds";
        no_payments: "还没有支付。", "No payments yet.";
        refresh: "从微信刷新", "Refresh from WeChat";
        close: "关闭订单", "Close";
        refund: "退款", "Refund";
        accept: "接受入账", "Accept";
        give_back: "退还", "Give back";
        replay: "重放通知", "Replay notifications";
        replay_refused: "重放被拒通知", "Replay refused";
        replay_refused_why: "有通知因验签未通过而被拒绝。", "Notifications that name this order were refused.";
        older_lines: "显示更早的记录", "Show earlier entries";
        description: "商品", "Description";
        attach: "附加数据", "Attach";
        app: "应用", "App";
        trade_type: "支付方式", "Trade type";
        created: "下单", "Created";
        expires: "失效", "Expires";
        paid_at: "支付", "Paid";
        credited: "入账", "Credited";
        yes: "是", "yes";
        no: "否", "no";
        out_trade_no: "商户单号", "out_trade_no";
        transaction: "微信支付单号", "Transaction";
        refund_no: "退款单号", "Refund";
        class: "类别", "Class";
        refunded: "已退", "Refunded";
        failure: "微信的答复", "WeChat said";
        pending_close: "正在等待微信允许关闭。", "Waits until WeChat lets it be closed.";
        pending_attempt: "正在等待新的支付尝试。", "Waits for a new attempt.";
        truncated: "只显示最新的记录：", "Only the newest rows are shown of: ";
        requested: "下单", "Order requested";
        attempt: "支付尝试", "Attempt";
        call: "调用微信", "Call to WeChat";
        notification: "收到通知", "Notification";
        decision: "判定", "Decision";
        ledger: "账本", "Ledger";
        refund_recorded: "申请退款", "Refund requested";
        refund_decision: "退款判定", "Refund decision";
        refund_ledger: "退款入账", "Refund booked";
        event: "事件", "Event";
        delivery: "Webhook 投递", "Webhook";
        endpoint: "端点", "Endpoint";
        took: "耗时", "Took";
        action: "人工操作", "Operator";
        source: "来源", "Source";
        source_id: "来源编号", "Source id";
        fact: "事实", "Fact";
        verified_by: "验签密钥", "Verified by";
        received: "收到", "Received";
        processed: "处理于", "Processed";
        from_addr: "来源地址", "From address";
        bytes: "字节", "Bytes";
        means: "含义", "What it means";
        api: "接口", "API";
        code: "代码", "Code";
        message: "说明", "Message";
        version: "版本", "Version";
        entry: "分录", "Entry";
        evidence: "凭据", "Evidence";
        occurred: "发生于", "Occurred";
        published: "发布于", "Published";
        not_published: "尚未发布", "not published yet";
        actor: "操作人", "Who";
        result: "结果", "Result";
        reason: "原因", "Reason";
        origin: "发起方", "Origin";
        raw: "原文（已脱敏，金额单位为分）", "Message, masked (amounts in fen)";
        curl: "复制为 curl（沙箱）", "Copy as curl for the sandbox";
        audit: "操作审计", "Audit of this order";
        refreshed: "微信已答复。", "WeChat answered.";
        not_refreshed: "微信暂未答复，或刚刚已查询过。", "WeChat has not answered yet, or was asked a moment ago.";
        close_title: "关闭订单", "Close the order";
        close_what: "将请微信关闭该订单的支付尝试，之后不能再支付。微信在下单五分钟内不允许关闭，届时会自动完成。",
            "WeChat is asked to close the order's attempts; nothing can be paid on it then. Within five minutes \
             of its placing WeChat closes nothing: it is done as soon as WeChat allows it.";
        close_asked: "已请求关闭订单。", "The order is being closed.";
        not_open: "订单已结束，无需关闭。", "The order has ended: there is nothing to close.";
        accept_title: "接受挂起的款项", "Accept held money";
        accept_what: "该笔款项将记为订单的收入，并发出 order.paid（若尚未发出）。此后不能再撤销，只能退款。",
            "The payment is credited to the order, and order.paid is emitted unless it was. It cannot be undone; \
             it can be refunded.";
        accepted: "款项已入账。", "The payment is credited.";
        accepted_before: "款项此前已入账，没有变更。", "The payment was credited before: nothing changed.";
        awaits: "金额较大，须由另一人复核后入账。", "It needs a second person: it is credited once approved.";
        given_back: "款项正在退回或已退回付款人。", "The payment goes back to the payer, or went back.";
        foreign: "款项币种或收款方不符，只能退还。",
            "The payment is in another currency or went to another recipient: it can only be given back.";
        no_payment: "订单没有这笔支付。", "The order has no such payment.";
        refund_of: "支付金额", "Paid";
        will_be: "将会", "What will happen";
    }
}

/// A state's name in words; unknown ones as they are.
pub fn state(name: &str, lang: Lang) -> &str {
    match name {
        "requested" => lang.pick("处理中", "requested"),
        "payable" => lang.pick("待支付", "payable"),
        "paid" => lang.pick("已支付", "paid"),
        "closed" => lang.pick("已关闭", "closed"),
        "failed" => lang.pick("失败", "failed"),
        "unknown" => lang.pick("未知", "unknown"),
        "processing" => lang.pick("退款中", "processing"),
        "succeeded" => lang.pick("已退款", "succeeded"),
        "abnormal" => lang.pick("退款异常", "abnormal"),
        "held" => lang.pick("挂起", "held"),
        "credited" => lang.pick("已入账", "credited"),
        "unmatched" => lang.pick("无订单", "unmatched"),
        "returned" => lang.pick("已退回", "returned"),
        other => other,
    }
}

/// A fact's name in words.
pub fn fact(name: &str, lang: Lang) -> &str {
    match name {
        "prepay_issued" => lang.pick("微信已接单，可以支付", "WeChat issued a prepay id"),
        "placement_refused" => lang.pick("微信拒绝了订单", "WeChat refused the order"),
        "setup_refused" => lang.pick("微信因商户设置拒绝", "WeChat refused the merchant's setup"),
        "placement_unknown" => lang.pick("下单结果未知", "the outcome of the placing is not known"),
        "closed" => lang.pick("微信已关闭", "closed at WeChat"),
        "paid" => lang.pick("付款人已支付", "the payer paid"),
        "refunded" => lang.pick("已支付，部分或全部已退", "paid, and given back since"),
        "payment_accepted" => lang.pick("人工接受入账", "an operator accepted the payment"),
        "unpaid" => lang.pick("尚未支付", "not paid yet"),
        "not_found" => lang.pick("微信不认识该单号", "WeChat does not know the number"),
        "close_requested" => lang.pick("请求关闭", "its closing was asked for"),
        "attempt_requested" => lang.pick("请求新的支付尝试", "another attempt was asked for"),
        other => other,
    }
}

/// Where a fact came from.
pub fn source(name: &str, lang: Lang) -> &str {
    match name {
        "notification" => lang.pick("通知", "notification"),
        "query" => lang.pick("查询", "query"),
        "unified_order" => lang.pick("下单应答", "answer to the placing"),
        "close" => lang.pick("关单应答", "answer to the closing"),
        "request" => lang.pick("调用方请求", "request"),
        "refund" => lang.pick("退款应答", "answer to the refund"),
        "bill" => lang.pick("账单", "bill"),
        other => other,
    }
}
