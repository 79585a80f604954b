//! The texts of payers.

words! {
    PayerWords {
        title: "付款人", "Payers";
        note: "付款人是某个应用下的 openid。列表和审计中只显示其代号。",
            "A payer is an openid under one app. Lists and the audit show the payer's name (payer-…) in its place.";
        app: "应用", "App";
        openid: "openid", "openid";
        end_sessions: "结束会话", "End sessions";
        end_what: "该付款人在所有设备上的会话立即结束，可以重新登录。",
            "All sessions of the payer end at once, on all devices. The payer may log in again.";
        ended: "会话已结束。", "The sessions have ended.";
        erase: "清除数据", "Erase a payer";
        erase_what: "先显示将清除的内容，确认后才执行。",
            "The next page shows what will be erased; nothing happens until you confirm it.";
        next: "继续", "Continue";
        preview: "确认清除", "Erase this payer?";
        erase_this: "清除该付款人", "Erase this payer";
        goes: "将被清除", "What will be erased";
        goes_now: "立即：会话、用户资料（昵称、头像、unionid）、登录记录、待付的钱包订单。",
            "At once: sessions, the user (nickname, avatar, unionid), logins, unpaid wallet orders.";
        goes_later: "随后分步进行：订单和通知中的 openid、设备地址、metadata，被拒通知的正文。至少 25 小时后完成。",
            "Then step by step: the openid, device address and metadata in orders and notifications, and the bodies of \
             refused notifications. This takes at least 25 hours.";
        stays: "保留不变：账簿、退款、凭证、金额与编号。", "Kept: ledger, refunds, evidence, amounts and numbers.";
        waits_note: "仍可支付的订单、死信等处理完之前，清除会等待。",
            "Orders that can still be paid, parked dead letters and the like delay it until they have ended.";
        final_note: "清除后无法恢复。", "This cannot be undone.";
        type_end: "请输入 openid 的最后 4 个字符确认", "Type the last 4 characters of the openid";
        wrong_end: "输入的字符与 openid 的末尾不符，没有清除任何数据。",
            "That is not how the openid ends. Nothing was erased.";
        bad_openid: "openid 只能包含字母、数字、_ 和 -，最多 128 个字符。",
            "An openid has letters, digits, _ and -, 128 at most.";
        no_app: "请选择应用。", "Choose an app.";
        ended_unknown: "会话已结束。但该应用下没有这个付款人的任何数据，请核对 openid。",
            "Sessions have ended. Nothing is kept of such a payer under this app: check the openid.";
        unknown: "该应用下没有这个付款人，没有清除任何数据。",
            "No such payer is known under this app. Nothing was erased.";
        asked: "已登记清除，正在后台进行。", "The erasure runs in the background.";
        erasures: "清除记录", "Erasures";
        none: "没有清除记录。", "No erasures.";
        erasure: "清除", "Erasure";
        payer: "付款人", "Payer";
        asked_at: "申请时间", "Requested";
        asked_by: "申请人", "Requested by";
        changed: "已改行数", "Rows changed";
        removed: "已删行数", "Rows removed";
        waits_for: "等待", "Waiting for";
        error: "最近错误", "Last error";
        next_at: "下次继续", "Next run";
        ended_at: "完成时间", "Ended";
        audit: "审计记录", "Audit record";
        orders: "可支付的订单", "orders that can be paid";
        evidence: "含 openid 的旧凭证", "evidence with the openid";
        notifications: "待处理的通知", "waiting notifications";
        dead_letters: "搁置的死信", "parked dead letters";
        messages: "队列中的消息", "queued messages";
        unreadable: "无法读取的行", "rows that cannot be read";
        keys: "丢失的代号密钥", "lost keys of payers' names";
        last_pass: "最后一遍检查", "the final pass";
    }
}
