//! Texts of the pages of webhooks.

use crate::console::ui::status::Status;
use crate::console::words::Lang;
use crate::store::{DeliveryState, EndpointState};

words! {
    Texts {
        title: "Webhook", "Webhooks";
        note: "事件按订单顺序推送到商户自己的地址，失败后在一天内重试。",
            "Events are sent to the merchants' own URLs, in sequence for each order, and retried for a day.";
        none: "还没有端点。", "No endpoints yet.";
        endpoint: "端点", "Endpoint";
        url: "地址", "URL";
        format: "格式", "Format";
        format_events: "事件（Standard Webhooks）", "Events (Standard Webhooks)";
        format_wecom: "企业微信群机器人（地址须含 key）", "WeCom group robot (the address with its key)";
        format_mail: "邮件（mailto:，须配置邮件服务器）", "Mail (mailto:, with a mail server configured)";
        says_made: "已创建。机器人的密钥已加密保存，不再显示。",
            "Created. A robot's key is kept sealed and is not shown again.";
        description: "说明", "Description";
        events: "事件（每行一个，空为全部）", "Events, one a line (empty: all)";
        all_events: "全部", "all";
        rate: "成功率", "Success rate";
        of_last: "最近", "of the last";
        pending: "待投递", "Pending";
        failed: "失败", "Failed";
        next_at: "下次尝试", "Next try";
        last_at: "最近尝试", "Last attempt";
        failing_since: "持续失败自", "Failing since";
        disabled_at: "停用于", "Disabled";
        why_operator: "由人员停用", "by a person";
        why_gone: "接收方回答 410", "the receiver answered 410";
        why_failing: "长时间没有成功", "no success for too long";
        hint: "停用期间的事件不会丢失：启用后从中断处继续。",
            "No event is lost while it is disabled: once enabled, delivery goes on where it stopped.";
        hint_failed: "已放弃的投递可以恢复。", "Failed deliveries can be recovered.";
        create: "新建端点", "New endpoint";
        make: "创建", "Create";
        change: "修改端点", "Change the endpoint";
        change_note: "待投递的事件将发送到新地址。", "Pending events go to the new URL.";
        save: "保存", "Save";
        says_changed: "端点已修改。", "The endpoint is changed.";
        enable: "启用", "Enable";
        disable: "停用", "Disable";
        test: "发送测试", "Send a test";
        recover: "恢复失败的投递", "Recover failed deliveries";
        since: "范围", "Created within";
        hours_24: "24 小时", "24 hours";
        days_7: "7 天", "7 days";
        everything: "全部", "all kept";
        rotate: "轮换密钥", "Rotate the secret";
        delete: "删除端点", "Delete the endpoint";
        delete_note: "待投递的事件将被取消，无法恢复。", "Pending deliveries are cancelled and cannot be recovered.";
        why: "原因", "Reason";
        secret: "签名密钥", "Signing secret";
        secret_note: "此密钥只显示这一次。轮换后旧密钥在 24 小时内继续签名。",
            "Copy it now: it is shown only once. After a rotation the old one signs beside it for 24 hours.";
        deliveries: "投递", "Deliveries";
        attempts: "尝试", "Attempts";
        no_deliveries: "没有投递。", "No deliveries.";
        no_attempts: "没有尝试。", "No attempts.";
        event: "事件", "Event";
        taken: "事件", "Events";
        made: "产生于", "Created";
        tries: "次数", "Attempts";
        last_error: "最近的答复", "Last answer";
        at: "时间", "At";
        outcome: "结果", "Outcome";
        answer: "答复", "Answer";
        body: "内容", "Body";
        request: "请求", "Request";
        took: "耗时", "Took";
        bytes: "字节", "bytes";
        replay: "重放", "Replay";
        every_attempt: "所有尝试", "All attempts";
        says_enabled: "端点已启用。", "The endpoint is enabled.";
        says_disabled: "端点已停用。", "The endpoint is disabled.";
        says_deleted: "端点已删除。", "The endpoint is deleted.";
        says_recovered: "条投递已重新排队。", "deliveries are on the schedule again.";
        says_tested: "测试已送达。", "The test was delivered.";
        says_test_failed: "测试失败：", "The test failed: ";
        says_used_up: "该商户的端点已达上限。", "The merchant has as many endpoints as it may.";
        says_no_key: "未配置 webhooks.key_file 或 web.session_key_file。",
            "Neither webhooks.key_file nor web.session_key_file is configured.";
        bad_events: "无法识别的事件类型", "This is no event type";
        created_by: "创建人", "Created by";
        merchant: "商户", "Merchant";
    }
}

pub fn state(state: EndpointState) -> Status {
    match state {
        EndpointState::Enabled => Status::Enabled,
        EndpointState::Disabled => Status::Disabled,
        EndpointState::Deleted => Status::Cancelled,
    }
}

pub fn delivery(state: DeliveryState) -> Status {
    match state {
        DeliveryState::Pending => Status::Pending,
        DeliveryState::Delivered => Status::Delivered,
        DeliveryState::Failed => Status::Broken,
        DeliveryState::Cancelled => Status::Cancelled,
    }
}

/// `98 %`, of attempts; nothing where there are none.
pub fn rate(succeeded: i64, attempts: i64) -> String {
    if attempts == 0 { "–".to_owned() } else { format!("{} %", succeeded * 100 / attempts) }
}

/// What an attempt came to; one that is not known here by its own name.
pub fn outcome(name: &str, lang: Lang) -> &str {
    match name {
        "delivered" => lang.pick("已送达", "delivered"),
        "http_status" => lang.pick("其他状态码", "another status"),
        "redirect" => lang.pick("重定向", "a redirect"),
        "gone" => lang.pick("接收方已停用（410）", "gone (410)"),
        "timeout" => lang.pick("超时", "no answer in time"),
        "not_connected" => lang.pick("无法连接", "no connection"),
        "broken" => lang.pick("连接中断", "the connection broke"),
        "no_address" => lang.pick("域名无法解析", "the name has no address"),
        "address_refused" => lang.pick("地址不允许访问", "the address may not be called"),
        "event_gone" => lang.pick("事件已被清除", "the event was removed"),
        "event_unreadable" => lang.pick("事件无法读取", "the event is unreadable"),
        "refused" => lang.pick("机器人未接收", "the robot refused it"),
        "no_secret" => lang.pick("没有可用的密钥", "no usable secret"),
        other => other,
    }
}

/// What an attempt was made for.
pub fn cause(name: &str, lang: Lang) -> &str {
    match name {
        "schedule" => lang.pick("自动", "by schedule"),
        "replay" => lang.pick("重放", "by a replay"),
        "test" => lang.pick("测试", "a test"),
        other => other,
    }
}
