//! What people read of bills: which line differs and by what, and whether it needs one of them.

use serde_json::{Value, json};
use wxpay_worker::webhooks::robot_body;

/// The line of an event in a robot's message.
fn line(fact: &str, data: &Value) -> String {
    let event = json!({"type": format!("wxpay.{fact}.v1"), "source": "wxpay/main", "data": data});
    let message: Value = serde_json::from_str(&robot_body(&[event]).0).unwrap();
    message["markdown"]["content"].as_str().unwrap().lines().nth(1).unwrap().to_owned()
}

fn mismatch(more: Value) -> String {
    let mut data = json!({"day": "2026-11-29", "line": 7, "class": "missing_here", "kind": "payment",
                          "resolution": "open", "order_no": null, "transaction_id": "4200001", "out_trade_no": "A1",
                          "refund_no": null, "refund_id": null, "bill_fen": 300, "bill_currency": "CNY",
                          "ledger_fen": null, "ledger_currency": null, "explains_fen": 300});
    for (name, value) in more.as_object().unwrap() {
        data[name] = value.clone();
    }
    line("bill.mismatch_found", &data)
}

fn reconciled(state: &str, open: i64, unexplained_fen: i64, others: Value) -> String {
    let data = json!({"day": "2026-11-29", "state": state, "open": open, "unexplained_fen": unexplained_fen,
                      "others": others});
    line("bill.reconciled", &data)
}

const MARKED: &str = "> <font color=\"warning\">";

#[test]
fn a_difference_has_its_class_its_number_and_both_amounts() {
    let payment = mismatch(json!({}));
    assert_eq!(
        payment,
        "> <font color=\"warning\">对账差异</font> bill.mismatch_found · main · 2026-11-29 · 长款 missing_here · 4200001 · \
         账单 bill ¥3.00"
    );
    let refund = mismatch(json!({"class": "refund_amount", "kind": "refund", "refund_no": "R1", "ledger_fen": 250,
                                 "ledger_currency": "CNY"}));
    assert!(refund.ends_with("退款金额不一致 refund_amount · R1 · 账单 bill ¥3.00 · 账簿 books ¥2.50"), "{refund}");
    let other = mismatch(json!({"class": "of_a_later_version", "bill_currency": "USD"}));
    assert!(other.ends_with("of_a_later_version · 4200001 · 账单 bill 300 USD"), "{other}");
}

#[test]
fn only_what_is_open_needs_a_person() {
    assert!(mismatch(json!({})).starts_with(MARKED));
    for resolution in ["covered", "resolved"] {
        let settled = mismatch(json!({"class": "refund_pending", "resolution": resolution}));
        assert!(!settled.contains("warning") && settled.ends_with(resolution), "{settled}");
    }
}

#[test]
fn a_red_day_needs_a_person_and_has_its_remainder() {
    let red = reconciled("red", 0, -50, json!({"USD": {"unexplained_fen": 7}, "JPY": {"unexplained_fen": 0}}));
    let words = "red · 未处理 open 0 · 未解释 unexplained -¥0.50 · 未解释 unexplained 7 USD";
    assert!(red.starts_with(&format!("{MARKED}对账不平</font>")) && red.ends_with(words), "{red}");
    for state in ["balanced", "explained"] {
        let settled = reconciled(state, 0, 0, json!({}));
        assert!(settled.starts_with("> 对账完成 ") && settled.ends_with("未处理 open 0"), "{settled}");
    }
}
