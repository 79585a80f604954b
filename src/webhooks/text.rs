//! An event in words, for the people who read messages and mails.

use serde_json::Value;

use crate::reconciliation::{DayState, LineClass, Resolution};

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
    let data = &event["data"];
    let (word, needs_person) = named(&fact, data);
    let mut about = vec![text(&event["source"]).trim_start_matches("wxpay/").to_owned(), text(&event["subject"])];
    about.retain(|part| !part.is_empty());
    let mut details: Vec<String> =
        data["amount_fen"].as_i64().map(|fen| amount(fen, data["currency"].as_str())).into_iter().collect();
    for name in ["day", "state", "what", "app", "consumer", "reason", "check", "error", "message"] {
        details.push(text(&data[name]));
    }
    details.extend(of_line(data));
    details.extend(data["open"].as_i64().map(|open| format!("未处理 open {open}")));
    details.extend(remainders(data));
    details.push(text(&event["time"]));
    details.retain(|part| !part.is_empty());
    Line { word, fact, needs_person, about, details }
}

/// Which line of a day differs, and by what.
fn of_line(data: &Value) -> Vec<String> {
    let text = |name: &str| data[name].as_str().map(plain).filter(|text| !text.is_empty());
    let Some(class) = text("class").filter(|_| data["line"].is_i64()) else { return Vec::new() };
    let class = LineClass::parse(&class).map_or(class, |known| format!("{} {}", known.chinese(), known.as_str()));
    let number = ["refund_no", "refund_id", "transaction_id", "out_trade_no"].into_iter().find_map(text);
    let side = |word: &str, fen: &str, currency: &str| {
        data[fen].as_i64().map(|fen| format!("{word} {}", amount(fen, data[currency].as_str())))
    };
    let sides = [side("账单 bill", "bill_fen", "bill_currency"), side("账簿 books", "ledger_fen", "ledger_currency")];
    let resolution = text("resolution").filter(|resolution| resolution != Resolution::Open.as_str());
    [Some(class), number].into_iter().chain(sides).chain([resolution]).flatten().collect()
}

/// What a day's result leaves without an explanation, per currency.
fn remainders(data: &Value) -> Vec<String> {
    let others = data["others"].as_object().into_iter().flatten();
    let others = others.map(|(currency, of)| (currency.as_str(), of["unexplained_fen"].as_i64()));
    let all = [("CNY", data["unexplained_fen"].as_i64())].into_iter().chain(others);
    let left = all.filter_map(|(currency, fen)| Some((currency, fen.filter(|fen| *fen != 0)?)));
    left.map(|(currency, fen)| format!("未解释 unexplained {}", amount(fen, Some(currency)))).collect()
}

fn amount(fen: i64, currency: Option<&str>) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    match currency {
        None | Some("CNY") => format!("{sign}¥{}.{:02}", (fen / 100).unsigned_abs(), (fen % 100).unsigned_abs()),
        Some(other) => format!("{fen} {}", plain(other)),
    }
}

/// The fact in Chinese, and whether a person is needed.
fn named(fact: &str, data: &Value) -> (&'static str, bool) {
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
        // What a rule covers or a note explains needs none.
        "bill.mismatch_found" => ("对账差异", data["resolution"] == Resolution::Open.as_str()),
        "bill.failed" => ("账单缺失", true),
        "bill.reconciled" if data["state"] == DayState::Red.as_str() => ("对账不平", true),
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
