//! An event in words, for the people who read messages and mails.

use serde_json::Value;

/// The longest value of an event, in characters.
const VALUE_MAX: usize = 120;

/// What happened.
pub(super) struct Line {
    /// In Chinese.
    pub word: &'static str,
    /// Its name: `payment.held`.
    pub fact: String,
    pub needs_person: bool,
    /// The merchant and the order, where they are known.
    pub about: Vec<String>,
    /// What tells one case from another.
    pub details: Vec<String>,
}

/// What an event says, without markup or control characters.
pub(super) fn line(event: &Value) -> Line {
    let text = |value: &Value| value.as_str().map(plain).unwrap_or_default();
    let fact = text(&event["type"]);
    let fact = fact.trim_start_matches("wxpay.").trim_end_matches(".v1").to_owned();
    let (word, needs_person) = named(&fact);
    let mut about = vec![text(&event["source"]).trim_start_matches("wxpay/").to_owned(), text(&event["subject"])];
    about.retain(|part| !part.is_empty());
    let data = &event["data"];
    let mut details: Vec<String> =
        data["amount_fen"].as_i64().map(|fen| amount(fen, data["currency"].as_str())).into_iter().collect();
    for name in ["day", "state", "what", "app", "consumer", "reason", "check", "error", "message"] {
        details.push(text(&data[name]));
    }
    details.extend(data["open"].as_i64().map(|open| format!("未处理 open {open}")));
    details.push(text(&event["time"]));
    details.retain(|part| !part.is_empty());
    Line { word, fact, needs_person, about, details }
}

fn amount(fen: i64, currency: Option<&str>) -> String {
    match currency {
        None | Some("CNY") => format!("¥{}.{:02}", fen / 100, fen % 100),
        Some(other) => format!("{fen} {}", plain(other)),
    }
}

/// The fact in Chinese, and whether a person is needed.
fn named(fact: &str) -> (&'static str, bool) {
    match fact {
        "payment.held" => ("资金挂起", true),
        "payment.orphaned" => ("无订单的支付", true),
        "payment.accepted" => ("挂起资金已入账", false),
        "order.paid" => ("已支付", false),
        "order.paid_late" => ("迟到支付", true),
        "order.paid_twice" => ("重复支付", true),
        "order.failed" => ("下单失败", false),
        "refund.requested" => ("退款申请", false),
        "refund.delayed" => ("退款推迟", true),
        "refund.succeeded" => ("退款成功", false),
        "refund.abnormal" => ("退款异常", true),
        "refund.failed" => ("退款失败", true),
        "notification.rejected" => ("通知被驳回", true),
        "dead_letter.parked" => ("死信", true),
        "app.degraded" => ("应用异常", true),
        "app.recovered" => ("应用恢复", false),
        "merchant.degraded" => ("商户异常", true),
        "merchant.recovered" => ("商户恢复", false),
        "approval.waiting" => ("待他人复核", true),
        "webhook.disabled" => ("Webhook 停用", true),
        "webhook.test" => ("测试消息", false),
        "bill.mismatch_found" => ("对账差异", true),
        "bill.failed" => ("账单缺失", true),
        "bill.reconciled" => ("对账完成", false),
        _ => ("事件", false),
    }
}

/// A value as text that changes nothing of the message: one line without markup.
fn plain(text: &str) -> String {
    let is_markup = |c: char| c.is_control() || matches!(c, '<' | '>' | '[' | ']' | '*' | '`' | '#');
    let kept = text.chars().take(VALUE_MAX).map(|c| if is_markup(c) { ' ' } else { c });
    kept.collect::<String>().trim().to_owned()
}
